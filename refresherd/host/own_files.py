"""Reads files that this process, or an earlier run of it, has written itself."""

import os
import stat
from errno import ELOOP

from refresherd.domain.errors import OutputError
from refresherd.host.os_errors import failure
from refresherd.host.trust import other_owner

OPEN_TO_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""Without blocking: a named pipe in the file's place would wait for a writer."""


class Distrusted(OutputError):
    """Somebody else may have written the file: `why` says why it seems so."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.why = why


def read(path: str, limit: int) -> bytes | None:
    """Return the first `limit` + 1 bytes of a file, None if there is none. Raises OutputError.

    The byte too many shows that a file is too long. What is not a regular file counts as empty.
    Raises Distrusted for a link, another user's file, and one that everybody may write to.
    """
    try:
        fd = os.open(path, OPEN_TO_READ)
        try:
            found = os.fstat(fd)
            if owner := other_owner(found):
                raise Distrusted(path, f"it belongs to {owner}")
            if found.st_mode & stat.S_IWOTH:
                mode = stat.S_IMODE(found.st_mode)
                raise Distrusted(path, f"every user may write to it (mode {mode:04o})")
            parts = []
            missing = limit + 1 if stat.S_ISREG(found.st_mode) else 0
            # read(2) may return less than there is.
            while missing and (part := os.read(fd, min(missing, 1 << 20))):
                parts.append(part)
                missing -= len(part)
            return b"".join(parts)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == ELOOP:
            raise Distrusted(path, "it is a symbolic link") from None
        raise failure(path, "read it", error) from error
