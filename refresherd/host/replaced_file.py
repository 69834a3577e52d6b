"""A file that is replaced whole without holding up the event loop.

Before its first write it is prepared: temporary files that killed runs left behind are removed,
and a trial write shows whether a token could be written.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from errno import EBUSY, EISDIR
from functools import cache
from pathlib import Path
from secrets import token_hex
from stat import S_ISDIR
from typing import TypeVar

from refresherd.domain.errors import OutputError
from refresherd.domain.model import Instant
from refresherd.engine.ports import Clock
from refresherd.host import atomic_file
from refresherd.host.atomic_file import Target, discard, opened, write_temporary
from refresherd.host.filesystem import PATIENCE_SECONDS, filesystem_timeout
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.os_errors import failure

T = TypeVar("T")

TEMPORARY = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
"""The name of a temporary file, with the eight random bytes that make each one new."""

LISTING_SECONDS = 1.0
"""How long the listing of a directory is used: all outputs of a start share one."""

LOOK_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

TRIAL = bytes(512)
"""About a token in its longest format: on a full disk an empty file would still fit."""

MOUNTS = Path("/proc/self/mountinfo")

MEMORY_FILE_SYSTEMS = frozenset(("tmpfs", "ramfs", "devtmpfs"))


@dataclass(frozen=True, slots=True)
class _Listing:
    taken_at: Instant
    names: dict[str, list[str]]


class StaleTempFiles:
    """The temporary files of killed runs, by directory. Use each directory in one thread at a time.

    A directory with ten thousand tokens takes milliseconds to list: to do so for each of its ten
    thousand outputs would take half a minute.
    """

    def __init__(self) -> None:
        self._listings: dict[str, _Listing] = {}

    def take(self, directory: int, target: Target, now: Instant) -> list[str]:
        """Return the names of a target's stale files, each name once. Raises OSError."""
        listing = self._listings.get(target.directory)
        if listing is None or now - listing.taken_at >= LISTING_SECONDS:
            names: dict[str, list[str]] = defaultdict(list)
            for name in os.listdir(directory):
                # The cheap question first: nearly all files are tokens.
                if name.endswith(".tmp") and (match := TEMPORARY.fullmatch(name)):
                    names[match["target"]].append(name)
            listing = self._listings[target.directory] = _Listing(now, names)
        return listing.names.pop(target.name, [])


class ReplacedFile:
    """A target, and the queue of its directory, in which all calls for it run in order.

    A filesystem that hangs so holds up its own files only. A call that is cancelled, or has taken
    `patience` seconds, returns at once: to wait for a hanging filesystem would hold up a reload or
    the end of the process. A write that has begun by then may still finish, but never after a
    later call for this file. `KeyedExecutor.drained` returns once nothing is under way any more.
    Files that share an executor should share their `stale_files`, too.

    In a directory in memory nothing can hang, so a prepared file is written in the event loop: a
    thread would cost several times as much as the write.
    """

    __slots__ = ("_clock", "_executor", "_in_memory", "_patience", "_stale_files", "_target")

    def __init__(
        self,
        target: Target,
        clock: Clock,
        executor: KeyedExecutor,
        stale_files: StaleTempFiles | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._target = target
        self._clock = clock
        self._executor = executor
        self._stale_files = stale_files or StaleTempFiles()
        self._patience = patience
        self._in_memory = False

    @property
    def path(self) -> str:
        """Where it is."""
        return self._target.path

    async def prepare(self) -> None:
        """Remove stale temporary files; raise OutputError if no token could be written."""
        await self._call(self._prepare)

    async def read(self, limit: int) -> bytes | None:
        """Return its first `limit` + 1 bytes, None if there is no file. Raises OutputError."""
        return await self._call(lambda: atomic_file.read(self.path, limit))

    async def replace(self, content: Callable[[], bytes]) -> None:
        """Replace it by what `content` returns at the moment of the write, durably.

        Raises OutputError; the old file is then still there.
        """
        await self._call(lambda: atomic_file.replace(self._target, content(), _nonce()))

    async def remove(self) -> None:
        """Remove it if it is there, durably. Raises OutputError."""
        await self._call(lambda: atomic_file.remove(self._target))

    async def _call(self, run: Callable[[], T]) -> T:
        if self._in_memory:
            return run()
        try:
            async with filesystem_timeout(self._patience):
                return await self._executor.call(self._target.directory, run)
        except TimeoutError as error:
            raise OutputError(f"{self.path}: {error.strerror}") from None

    def _prepare(self) -> None:
        """Remove stale files and write a trial file. Raises OutputError. It blocks.

        A temporary file that another process is writing is removed as well: its write fails, and
        is tried again.
        """
        target = self._target
        try:
            with opened(target.directory) as directory:
                for name in self._stale_files.take(directory, target, self._clock.now()):
                    discard(directory, name)
                _refuse_unreplaceable(directory, target)
                discard(
                    directory, write_temporary(directory, target, TRIAL, _nonce(), durable=False)
                )
        except OSError as error:
            raise failure(target.path, "write it", error) from error
        # Names are looked up with services that may hang, wherever the file is.
        names = target.ownership.owner or target.ownership.group
        self._in_memory = not names and in_memory(target.directory)


@cache
def in_memory(directory: str, mounts: Path = MOUNTS) -> bool:
    """Return whether a directory is in memory; False where that cannot be told.

    All directories on its path have to be in memory as well, or in the root file system: where
    that hangs, so does every program. Each directory is looked at once, since ten thousand outputs
    may share it.
    """
    try:
        if os.path.realpath(directory) != directory:
            return False
        places = (Path(directory), *Path(directory).parents)
        here, *above = (place.stat().st_dev for place in places)
        memory = _memory_devices(mounts.read_text(errors="surrogateescape"))
    except OSError:
        return False
    return here in memory and memory.issuperset(device for device in above if device != above[-1])


def _memory_devices(mountinfo: str) -> frozenset[int]:
    """Return the device numbers of file systems in memory, from proc_pid_mountinfo(5)."""
    devices = set()
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        if file_system.partition(" ")[0] in MEMORY_FILE_SYSTEMS:
            major, _, minor = mount.split(" ")[2].partition(":")
            devices.add(os.makedev(int(major), int(minor)))
    return frozenset(devices)


def _refuse_unreplaceable(directory: int, target: Target) -> None:
    """Raise the OSError that rename(2) would, if a mount or a directory is in the target's place.

    Such as a single file mounted into a container: it can neither be replaced from inside, nor
    would it follow a replacement outside.
    """
    try:
        place = os.open(target.name, LOOK_ONLY, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        if _mount(place) != _mount(directory):
            raise OSError(EBUSY, "")
        if S_ISDIR(os.fstat(place).st_mode):
            raise OSError(EISDIR, "")
    finally:
        os.close(place)


def _mount(fd: int) -> str:
    """Return which mount an open file is in, as proc_pid_fdinfo(5) has it.

    os.path.ismount misses a file that is mounted from the same directory. Without /proc it is "",
    and then rename(2) decides.
    """
    with suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
            if line.startswith("mnt_id:"):
                return line
    return ""


def _nonce() -> str:
    return token_hex(8)
