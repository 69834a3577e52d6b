"""Files that operators provide: keys, tokens, passwords, certificates. The functions block."""

import os
import stat
from collections.abc import Hashable
from errno import EINVAL
from pathlib import Path

MISSING = "missing"
"""The stamp of a file that cannot be found."""


def file_stamp(path: Path) -> Hashable:
    """Return a value that changes with the file. It raises nothing.

    Symbolic links are followed: Kubernetes replaces a mounted secret by changing one of them. A new
    owner or mode counts: the file may have become readable.
    """
    try:
        status = path.stat()
    except OSError:
        return MISSING
    return status.st_ctime_ns, status.st_ino, status.st_size


def read_source(path: Path, limit: int) -> bytes:
    """Return the first `limit` + 1 bytes of a file: more than `limit` show that it is too long.

    Raises OSError, also for anything but a regular file.
    """
    # Without O_NONBLOCK, opening a named pipe would block until somebody writes to it.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(EINVAL, "it is not a regular file")
        return file.read(limit + 1)
