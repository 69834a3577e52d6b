"""A file that is replaced whole, without holding up the event loop."""

import asyncio
from collections.abc import Callable
from secrets import token_hex
from typing import TypeVar

from refresherd.domain.errors import OutputError
from refresherd.engine.ports import Clock
from refresherd.host import atomic_file, preparation
from refresherd.host.atomic_file import Target
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.stale_temp_files import Leftovers
from refresherd.host.tmpfs import in_memory

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""A filesystem that takes longer hangs, and the operator is told so."""


class ReplacedFile:
    """A target, and the lane of its directory in which all is done to it.

    A filesystem that hangs so holds up its own files only. Where a call is cancelled, or has
    taken `patience` seconds, it returns at once: waiting on for a hanging filesystem would
    hold up a reload or the end of the process. A write that has begun by then may still land,
    but never after what is asked of this file later: the lane keeps the order.
    `Lanes.drained` tells when nothing is under way any more. Files that share their `lanes`
    should share `leftovers` too.

    Where nothing can hang, since a prepared directory is in memory, a write is done on the
    spot: a thread would cost several times as much as the write.
    """

    __slots__ = ("_clock", "_executor", "_leftovers", "_patience", "_prompt", "_target")

    def __init__(
        self,
        target: Target,
        clock: Clock,
        executor: KeyedExecutor,
        leftovers: Leftovers | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._target = target
        self._clock = clock
        self._executor = executor
        self._leftovers = leftovers or Leftovers()
        self._patience = patience
        self._prompt = False

    @property
    def path(self) -> str:
        """Where it is."""
        return self._target.path

    async def prepare(self) -> None:
        """Sweep temporary files of killed runs; raise OutputError if nothing could be written."""
        await self.blocking(self._prepare)

    async def replace(self, content: Callable[[], bytes]) -> None:
        """Replace it by what `content` returns at the moment of the write, durably.

        Raises OutputError; the old file is then still there.
        """
        await self.blocking(lambda: atomic_file.replace(self._target, content(), _nonce()))

    async def remove(self) -> None:
        """Remove it; nothing there is fine. Raises OutputError."""
        await self.blocking(lambda: atomic_file.remove(self._target))

    async def blocking(self, run: Callable[[], T]) -> T:
        """Return what `run` returns, in its turn. Raises OutputError where that takes too long."""
        if self._prompt:
            return run()
        try:
            async with asyncio.timeout(self._patience):
                return await self._executor.call(self._target.directory, run)
        except TimeoutError:
            message = f"no answer for {self._patience:g} s; its filesystem hangs or is swamped"
            raise OutputError(f"{self.path}: {message}") from None

    def _prepare(self) -> None:
        preparation.prepare(self._target, _nonce(), self._leftovers, self._clock.now())
        # Names are looked up with services that may hang, wherever the file is.
        names = self._target.ownership.owner or self._target.ownership.group
        self._prompt = not names and in_memory(self._target.directory)


def _nonce() -> str:
    return token_hex(8)
