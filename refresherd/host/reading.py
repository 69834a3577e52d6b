"""A file of the state directory, read with suspicion. All of it blocks."""

import os
import stat

from refresherd.host.os_errors import failure


def content(path: str, longest: int) -> bytes | None:
    """Return what is in a file, None if there is none. Raises OutputError.

    What is no file has no content; one byte more than is taken shows that it is too long.
    """
    try:
        # A pipe in the file's place would block until somebody writes to it.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read(fd, longest + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failure(path, "read it", error) from error


def _read(fd: int, most: int) -> bytes:
    """Read to the end: read(2) may return less than there is."""
    parts = []
    while most and (part := os.read(fd, min(most, 1 << 20))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)
