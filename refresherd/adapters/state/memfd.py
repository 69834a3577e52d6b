"""Files in memory that nobody can change any more, whoever holds them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
"""fcntl(2): not its content, nor its size, nor the seals themselves."""


@contextmanager
def sealed(content: bytes) -> Iterator[int]:
    """Yield a descriptor of a file with this content, whole and sealed. Raises OSError.

    It is open for the block only; the file lives on for as long as somebody else has it open.
    """
    fd = os.memfd_create("refresherd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, content)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        yield fd
    finally:
        os.close(fd)


def content(fd: int, longest: int) -> bytes:
    """Return what a descriptor that was passed holds, up to so many bytes, and close it.

    Raises OSError where it is not a file.
    """
    try:
        return os.pread(fd, longest, 0)
    finally:
        os.close(fd)
