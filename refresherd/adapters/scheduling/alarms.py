"""Alarms, and the heap of their deadlines. Ten thousand may wait at once, so each is small."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import isnan

from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER

NO_TICKET = 0

TOLERATED_ENTRIES = 64
"""A heap with no more dead entries than this is never compacted."""


class BootAlarm:
    """An alarm clock for one task: implements Alarm.

    `sooner` is called when the alarm's deadline comes before all others.
    """

    __slots__ = ("_deadlines", "_future", "_rung", "_sooner", "ticket")

    def __init__(self, deadlines: Deadlines, sooner: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self._sooner = sooner
        self._future: asyncio.Future[None] | None = None
        self._rung = False
        self.ticket = NO_TICKET
        """The number of its entry in the heap, or NO_TICKET. Only the heap sets it."""

    async def wait(self, until: Instant) -> None:
        """Return once boot time has reached `until`, or when `ring` is called.

        A ring during a wait that is cancelled ends the next wait instead. Raises RuntimeError
        if another task is waiting.
        """
        if self._future is not None:
            raise RuntimeError("an alarm serves one task at a time")
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
        """End the wait now; if nobody is waiting, the next wait returns at once."""
        self._rung = True
        self.wake()

    def wake(self) -> None:
        """End the wait that is under way, if there is one."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class Deadlines:
    """The alarms that are set, as a heap by deadline. Each is in it once at most.

    A discarded alarm leaves a dead entry behind, which is dropped later.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Instant, int, BootAlarm]] = []
        self._last_ticket = NO_TICKET
        self._live = 0

    @property
    def head(self) -> Instant:
        """The soonest deadline, NEVER if no alarm is set."""
        while self._heap and _is_dead(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER

    def add(self, at: Instant, alarm: BootAlarm) -> bool:
        """Set an alarm that is not set; return whether its deadline is before all others.

        Raises ValueError if the deadline is NaN, which would break the heap's order.
        """
        if isnan(at):
            raise ValueError("a deadline must be a number")
        sooner = at < self.head
        self._last_ticket += 1
        alarm.ticket = self._last_ticket
        heappush(self._heap, (at, self._last_ticket, alarm))
        self._live += 1
        return sooner

    def discard(self, alarm: BootAlarm) -> None:
        """Cancel an alarm, if it is set."""
        if alarm.ticket != NO_TICKET:
            self._kill(alarm)
            self._compact()

    def pop_due(self, now: Instant, limit: int) -> list[BootAlarm]:
        """Remove and return up to `limit` alarms that are due at `now`, in order of deadline."""
        due: list[BootAlarm] = []
        while len(due) < limit and self.head <= now and self._heap:
            alarm = heappop(self._heap)[2]
            self._kill(alarm)
            due.append(alarm)
        self._compact()
        return due

    def _kill(self, alarm: BootAlarm) -> None:
        alarm.ticket = NO_TICKET
        self._live -= 1

    def _compact(self) -> None:
        """Drop the dead entries when they are more than half, so that the cost stays linear."""
        if len(self._heap) > 2 * self._live + TOLERATED_ENTRIES:
            self._heap = [entry for entry in self._heap if not _is_dead(entry)]
            heapify(self._heap)


def _is_dead(entry: tuple[Instant, int, BootAlarm]) -> bool:
    _, ticket, alarm = entry
    return alarm.ticket != ticket
