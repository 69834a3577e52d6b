"""A file replaced whole or not at all, by the kernel's calls alone. All of it blocks.

Readers never see half a file: the bytes go to a temporary file beside the target,
and rename(2) puts it in the target's place in one step. A crash at any moment leaves
the old file or the new one, at worst with a temporary file beside it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EINVAL
from pathlib import Path

from refresherd.domain.model import Ownership
from refresherd.host.os_errors import failure
from refresherd.host.ownership import hand_over

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

OPEN_TEMPORARY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

NOBODY_ELSE = 0o600
"""The temporary file's mode until it has its owner: the bytes are nobody else's yet."""


@dataclass(frozen=True, slots=True)
class Target:
    """The file that consumers read, and who may."""

    path: str
    directory: str
    name: str
    ownership: Ownership

    @classmethod
    def at(cls, path: Path, ownership: Ownership) -> "Target":
        """Return the target at a path, without looking there."""
        return cls(str(path), str(path.parent), path.name, ownership)

    def temporary(self, nonce: str) -> str:
        """Return the name of a temporary file that is recognised as this target's."""
        return f".{self.name}.{nonce}.tmp"


@contextmanager
def opened(directory: str) -> Iterator[int]:
    """Open a directory, so that all calls mean the same one, whatever its path becomes."""
    fd = os.open(directory, OPEN_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def replace(target: Target, content: bytes, nonce: str) -> None:
    """Put these bytes in the target's place, durably. Raises OutputError.

    A symbolic link in the target's place is itself replaced, and what it points to is
    left alone; links on the way to the directory are followed. After a failure the old
    file is still there, unless only the directory could not be synced.
    """
    try:
        with opened(target.directory) as directory:
            temporary = write_temporary(directory, target, content, nonce, durable=True)
            try:
                os.rename(temporary, target.name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                discard(directory, temporary)
                raise
            _sync(directory)
    except OSError as error:
        raise failure(target.path, "write it", error) from error


def remove(target: Target) -> None:
    """Take the target away, durably; nothing there is fine. Raises OutputError."""
    try:
        with opened(target.directory) as directory:
            with suppress(FileNotFoundError):
                os.unlink(target.name, dir_fd=directory)
            # Even with nothing there: an earlier attempt may have failed only here.
            _sync(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise failure(target.path, "remove it", error) from error


def write_temporary(
    directory: int, target: Target, content: bytes, nonce: str, *, durable: bool
) -> str:
    """Write a temporary file with the target's owner and mode, and return its name.

    O_EXCL sees to it that no file and no link is ever written to that somebody planted
    there. Raises OSError or OutputError, and then has removed the file again.
    """
    temporary = target.temporary(nonce)
    fd = os.open(temporary, OPEN_TEMPORARY, NOBODY_ELSE, dir_fd=directory)
    try:
        try:
            _write(fd, content)
            hand_over(fd, target.path, target.ownership)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        discard(directory, temporary)
        raise
    return temporary


def discard(directory: int, temporary: str) -> None:
    """Remove a temporary file; where even that fails, the next start tries again."""
    with suppress(OSError):
        os.unlink(temporary, dir_fd=directory)


def _write(fd: int, content: bytes) -> None:
    """Write all of it: write(2) may take less, for instance when a disk is filling up."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _sync(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        # fsync(2): EINVAL where a filesystem has no such thing for directories.
        if error.errno != EINVAL:
            raise
