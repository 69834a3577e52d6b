"""The web configuration in force: read at the start, and again when one of its files changes."""

import asyncio
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from refresherd.domain.events import WebConfigRead, WebConfigRefused
from refresherd.engine.ports import Observer
from refresherd.host.http.protection import Protection, ProtectionReading, needs_restart
from refresherd.host.keyed_executor import PATIENCE_SECONDS, KeyedExecutor, filesystem_timeout
from refresherd.host.source_files import file_stamp

T = TypeVar("T")

EVERY_SECONDS = 1.0
"""Between two looks at the files."""


class ProtectionWatch:
    """What a web configuration says, now.

    A file is read again once it has not changed between two looks: neither half a file is read,
    nor a new certificate without its new key. A faulty file changes nothing.
    """

    def __init__(  # noqa: PLR0913  # the last two have defaults
        self,
        path: Path,
        read: Callable[[Path], ProtectionReading],
        executor: KeyedExecutor,
        observer: Observer,
        *,
        every: float = EVERY_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.current: Protection | None = None
        """None until the files can be used for the first time: nothing is served before that."""
        self._path = path
        self._read_config = read
        self._executor = executor
        self._observer = observer
        self._every = every
        self._patience = patience
        self._files: tuple[Path, ...] = (path,)
        self._read_stamps: tuple[Hashable, ...] = ()
        """Those of the files when they were last read."""
        self._last_stamps: tuple[Hashable, ...] = ()
        """Those of the last look."""
        self._faults: tuple[str, ...] = ()

    async def start(self) -> None:
        """Read the files for the first time. Whatever loaded the configuration reports faults."""
        with suppress(TimeoutError):
            await self._read()

    async def run(self) -> NoReturn:
        """Look again and again, until cancelled."""
        if self._faults:
            self._report()
        while True:
            await asyncio.sleep(self._every)
            with suppress(TimeoutError):
                await self.look()

    async def look(self) -> None:
        """Read the files if they have changed, but not since the last look. Raises TimeoutError."""
        stamps = await self._call(partial(_stamps, self._files))
        settled, self._last_stamps = stamps == self._last_stamps, stamps
        if settled and stamps != self._read_stamps:
            await self._read()
            self._report()

    async def _read(self) -> None:
        reading, stamps = await self._call(partial(_read, self._path, self._read_config))
        self._files, self._read_stamps, self._last_stamps = reading.files, stamps, stamps
        new, old = reading.protection, self.current
        self._faults = reading.faults
        if new is None:
            return
        if old is not None and (ended := needs_restart(old, new)):
            self._faults = (f"{self._path}: {ended}; restart refresherd if that is meant",)
            return
        self.current = new

    def _report(self) -> None:
        refused, read = WebConfigRefused(self._faults), WebConfigRead(str(self._path))
        self._observer.observe(refused if self._faults else read)

    async def _call(self, call: Callable[[], T]) -> T:
        """Call something that reads files in a thread. Raises TimeoutError if they hang."""
        async with filesystem_timeout(self._patience):
            return await self._executor.call("web configuration", call)


def _stamps(files: Iterable[Path]) -> tuple[Hashable, ...]:
    return tuple(map(file_stamp, files))


def _read(
    path: Path, read: Callable[[Path], ProtectionReading]
) -> tuple[ProtectionReading, tuple[Hashable, ...]]:
    """Return what the files say, and their stamps before that: a change meanwhile is seen later."""
    files: tuple[Path, ...] = (path,)
    while True:
        stamps, reading = _stamps(files), read(path)
        if reading.files == files:
            return reading, stamps
        files = reading.files
