"""One sleeper's alarm clock. Ten thousand of them wait at once, so each is kept small."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from refresherd.adapters.scheduling.deadlines import AWAKE

if TYPE_CHECKING:
    from collections.abc import Callable

    from refresherd.adapters.scheduling.deadlines import Deadlines
    from refresherd.domain.model import Instant


class BootAlarm:
    """The Alarm on a heap of deadlines; `sooner` is told of a deadline before all others."""

    __slots__ = ("_deadlines", "_future", "_rung", "_sooner", "ticket")

    def __init__(self, deadlines: Deadlines[BootAlarm], sooner: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self._sooner = sooner
        self._future: asyncio.Future[None] | None = None
        self._rung = False
        self.ticket = AWAKE

    async def wait(self, until: Instant) -> None:
        """Return once boot time has reached `until`, or when somebody rings.

        A wait that was cancelled leaves a ring to the next one. Raises RuntimeError
        where somebody waits already.
        """
        if self._future is not None:
            raise RuntimeError("an alarm has one sleeper")
        if not self._rung:
            self._future = asyncio.get_running_loop().create_future()
            try:
                if self._deadlines.add(until, self):
                    self._sooner()
                await self._future
            finally:
                self._deadlines.discard(self)
                self._future = None
        self._rung = False

    def ring(self) -> None:
        """Wake the sleeper now; if it is awake, its next wait returns at once."""
        self._rung = True
        self.wake()

    def wake(self) -> None:
        """End the wait that is under way, if there is one."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
