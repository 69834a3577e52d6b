"""Files replaced whole or not at all, without holding up the event loop.

Readers never see half a file: the bytes go to a temporary file beside the target, and rename(2)
puts it in the target's place in one step. A crash at any moment leaves the old file or the new
one, at worst with a temporary file beside it. The functions block; `ReplacedFile` does not.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from errno import EINVAL
from pathlib import Path
from secrets import token_hex
from typing import TypeAlias, TypeVar

from refresherd.domain.errors import OutputError
from refresherd.domain.model import Ownership
from refresherd.engine.ports import Clock
from refresherd.host.accounts import NoSuchAccount, belongs, owner_ids
from refresherd.host.directories import (
    StaleTempFiles,
    in_memory,
    opened_directory,
    refuse_unreplaceable,
    temporary_name,
)
from refresherd.host.file_record import FileRecord
from refresherd.host.keyed_executor import PATIENCE_SECONDS, KeyedExecutor, filesystem_timeout
from refresherd.host.os_errors import failure
from refresherd.host.trust import read_own

T = TypeVar("T")

OPEN_TEMPORARY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC

OWNER_ONLY = 0o600
"""The temporary file's mode until it has its owner: nobody else may read it yet."""

TRIAL = bytes(512)
"""About a token in its longest format: on a full disk an empty file would still fit."""

Claim: TypeAlias = Callable[[int, str, str], None]
"""Gets an open directory, and a target's path and its name there.

Raises OutputError if the target must not be written there.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A file that consumers read, and who may."""

    path: str
    directory: str
    name: str
    ownership: Ownership

    @classmethod
    def at(cls, path: Path, ownership: Ownership) -> "Target":
        """Return the target at a path, without looking there."""
        return cls(str(path), str(path.parent), path.name, ownership)


@dataclass(frozen=True, slots=True)
class FileContext:
    """What the files that are replaced share."""

    clock: Clock
    executor: KeyedExecutor
    stale_files: StaleTempFiles = field(default_factory=StaleTempFiles)
    claim: Claim | None = None
    """May refuse a directory: other links may lead there than when it was configured."""
    patience: float = PATIENCE_SECONDS
    """Seconds after which a call fails, since its filesystem hangs."""


def anywhere(directory: int) -> None:
    """Admit every directory."""


def replace(
    target: Target, content: bytes, nonce: str, admit: Callable[[int], None] = anywhere
) -> FileRecord:
    """Put these bytes in the target's place, durably; return what was left there.

    `admit` is called with the open directory, before anything changes there. A symbolic link in the
    target's place is itself replaced, and the file that it points to is left alone; links on the
    way to the directory are followed. After a failure the old file is still there, unless only the
    last step failed, the sync of the directory.

    Raises OutputError, as `admit` may.
    """
    try:
        with opened_directory(target.directory) as directory:
            admit(directory)
            with _temporary_file(directory, target, content, nonce) as (temporary, fd):
                os.fsync(fd)
                os.rename(temporary, target.name, src_dir_fd=directory, dst_dir_fd=directory)
                _sync(directory)
                return FileRecord.of(os.fstat(fd), content)
    except OSError as error:
        raise failure(target.path, "write it", error) from error


def remove(target: Target, admit: Callable[[int], None] = anywhere) -> None:
    """Remove the target, durably, if it is there. Raises OutputError, as `admit` may."""
    try:
        with opened_directory(target.directory) as directory:
            admit(directory)
            with suppress(FileNotFoundError):
                os.unlink(target.name, dir_fd=directory)
            # Even with nothing there: an earlier attempt may have failed only here.
            _sync(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise failure(target.path, "remove it", error) from error


@contextmanager
def _temporary_file(
    directory: int, target: Target, content: bytes, nonce: str
) -> Iterator[tuple[str, int]]:
    """Write a temporary file with the target's owner and mode; yield its name, and it open.

    With O_EXCL it never writes to a file or link that somebody planted there. Raises OSError or
    OutputError. After an error, also of the block, the file is removed again.
    """
    temporary = temporary_name(target.name, nonce)
    fd = os.open(temporary, OPEN_TEMPORARY, OWNER_ONLY, dir_fd=directory)
    try:
        rest = memoryview(content)
        while rest:  # write(2) may take less, for instance when a disk is filling up
            rest = rest[os.write(fd, rest) :]
        hand_over(fd, target.path, target.ownership)
        yield temporary, fd
    except BaseException:
        _discard(directory, temporary)
        raise
    finally:
        os.close(fd)


def hand_over(fd: int, path: str, ownership: Ownership) -> None:
    """Give an open file exactly this owner, group and mode, whatever the umask.

    The owner comes first, since chown(2) clears the set-id bits. Names are looked up each time:
    accounts come and go. Raises OutputError.
    """
    if ownership.owner or ownership.group:
        try:
            uid, gid = owner_ids(ownership)
            if not belongs(os.fstat(fd), uid, gid):
                os.fchown(fd, uid, gid)
        except NoSuchAccount as error:
            raise OutputError(f"{path}: {error}") from None
        except OSError as error:
            named = (("user", ownership.owner), ("group", ownership.group))
            whom = " and ".join(f"{kind} {name}" for kind, name in named if name)
            raise failure(path, f"give it to {whom}", error) from error
    try:
        os.fchmod(fd, ownership.mode)
    except OSError as error:
        raise failure(path, f"set mode {ownership.mode:04o}", error) from error


def _discard(directory: int, temporary: str) -> None:
    """Remove a temporary file; if even that fails, the next start tries again."""
    with suppress(OSError):
        os.unlink(temporary, dir_fd=directory)


def _sync(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        # fsync(2) fails with EINVAL where a filesystem cannot sync directories.
        if error.errno != EINVAL:
            raise


class ReplacedFile:
    """A target, and the queue of its directory, in which all calls for it run in order.

    A filesystem that hangs so holds up its own files only. A call that is cancelled, or has lost
    patience, returns at once: to wait for a hanging filesystem would hold up a reload or the end
    of the process. A write that has begun by then may still finish, but never after a later call
    for this file. `KeyedExecutor.drained` returns once nothing is under way any more.

    In a directory in memory nothing can hang, so a prepared file is written in the event loop: a
    thread would cost several times as much as the write.
    """

    __slots__ = ("_files", "_in_memory", "_target")

    def __init__(self, target: Target, files: FileContext) -> None:
        self._target = target
        self._files = files
        self._in_memory = False

    @property
    def path(self) -> str:
        """Where it is."""
        return self._target.path

    async def prepare(self) -> None:
        """Remove stale temporary files; raise OutputError if no token could be written."""
        await self._call(self._prepare)

    async def read(self, limit: int) -> bytes | None:
        """Return its first `limit` + 1 bytes, None if there is no file. Raises OutputError.

        Raises Distrusted if somebody else may have written it.
        """
        return await self._call(lambda: read_own(self.path, limit))

    async def replace(self, content: Callable[[], bytes]) -> None:
        """Replace it by what `content` returns at the moment of the write, durably.

        Raises OutputError; the old file is then still there.
        """
        await self._call(lambda: self._replace(content()))

    async def append(self, content: bytes) -> bool:
        """Append to it, not durably; return False if it is gone, or its disk is full.

        Raises OutputError if its filesystem hangs, or if it must not be written there.
        """
        return await self._call(lambda: self._append(content))

    async def remove(self) -> None:
        """Remove it if it is there, durably. Raises OutputError."""
        await self._call(lambda: remove(self._target, self._admit))

    def _admit(self, directory: int) -> None:
        if self._files.claim is not None:
            self._files.claim(directory, self._target.path, self._target.name)

    def _append(self, content: bytes) -> bool:
        try:
            with opened_directory(self._target.directory) as directory:
                self._admit(directory)
                fd = os.open(self._target.name, APPEND, dir_fd=directory)
                with os.fdopen(fd, "wb", buffering=0) as file:
                    return file.write(content) == len(content)
        except OSError:
            return False

    def _replace(self, content: bytes) -> FileRecord:
        return replace(self._target, content, _nonce(), self._admit)

    async def _call(self, run: Callable[[], T]) -> T:
        if self._in_memory:
            return run()
        try:
            async with filesystem_timeout(self._files.patience):
                return await self._files.executor.call(self._target.directory, run)
        except TimeoutError as error:
            raise OutputError(f"{self.path}: {error.strerror}") from None

    def _prepare(self) -> None:
        """Remove stale files and write a trial file. Raises OutputError. It blocks.

        A temporary file that another process is writing is removed as well: its write fails, and
        is tried again.
        """
        target, files = self._target, self._files
        try:
            with opened_directory(target.directory) as directory:
                self._admit(directory)
                now = files.clock.now()
                for name in files.stale_files.take(directory, target.directory, target.name, now):
                    _discard(directory, name)
                refuse_unreplaceable(directory, target.name)
                with _temporary_file(directory, target, TRIAL, _nonce()) as (trial, _):
                    _discard(directory, trial)
        except OSError as error:
            raise failure(target.path, "write it", error) from error
        # Names are looked up with services that may hang, wherever the file is.
        names = target.ownership.owner or target.ownership.group
        self._in_memory = not names and in_memory(target.directory)


def _nonce() -> str:
    """Return what makes a temporary file's name new: `directories.TEMPORARY` knows its length."""
    return token_hex(8)
