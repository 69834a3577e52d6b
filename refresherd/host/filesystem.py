"""Files that somebody else may change, on filesystems that may hang."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from errno import ETIMEDOUT
from pathlib import Path

PATIENCE_SECONDS = 10.0
"""A filesystem that takes longer than this counts as hanging."""

MISSING = "missing"
"""The stamp of a file that cannot be found."""


@asynccontextmanager
async def filesystem_timeout(seconds: float) -> AsyncIterator[None]:
    """Give the block, which waits for a filesystem, this many seconds.

    After that, raise TimeoutError: an OSError whose `strerror` explains it to an operator.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        message = f"no answer for {seconds:g} s; its filesystem hangs or is overloaded"
        raise TimeoutError(ETIMEDOUT, message) from None


def file_stamp(path: Path) -> Hashable:
    """Return a value that changes with the file. It blocks, and raises nothing.

    Symbolic links are followed: Kubernetes replaces a mounted secret by changing one of them.
    """
    try:
        status = path.stat()
    except OSError:
        return MISSING
    return status.st_mtime_ns, status.st_ino, status.st_size
