"""The Schedule: wakes the tasks whose alarms are due, and watches the clocks and APScheduler.

APScheduler is the timer: its only job rings when the next deadline is due. It knows only the
wall clock, so after a jump of that clock it has to be set again. It has no type information, so
everything of type Any stays in this module.

Alarms are entries in a heap of deadlines. Ten thousand may wait at once, so each is small.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from math import isnan
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from refresherd.domain.events import ClockJumped, LoopLagged
from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER
from refresherd.engine.liveness import HEARTBEAT_SECONDS
from refresherd.engine.ports import Clock, Observer

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


BATCH = 64
"""How many tasks are woken at a time: all at once would hold up the event loop."""

PAUSE_SECONDS = 0.02
"""Between two full batches, so 3,200 tasks a second. A core cannot serve more apps than that;
more of them awake would only wait for each other, at 6 KiB each."""

LATE_SECONDS = 0.5
"""An alarm that is this late was missed by APScheduler."""

TOLERATED_MISSES = 3
"""Misses in a row that small steps of the wall clock may cause. More than that are a fault."""

SOONEST = 0.001
"""In seconds. A trigger whose next time is not later than now sends APScheduler into a loop."""

FARTHEST = 86_400.0
"""In seconds. APScheduler cannot handle a date that is 136 years ahead, or no date at all."""

# At INFO, which an application may set for all loggers, each ring costs 75 % more.
logging.getLogger("apscheduler").setLevel(logging.ERROR)


class RemainingTrigger(BaseTrigger):  # type: ignore[misc]  # a class of Any
    """Fires when `remaining()` seconds have passed."""

    __slots__ = ("_remaining",)

    def __init__(self, remaining: Callable[[], float]) -> None:
        self._remaining = remaining

    def get_next_fire_time(self, _previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return when to fire next."""
        return now + timedelta(seconds=min(max(self._remaining(), SOONEST), FARTHEST))


class BootSchedule:
    """Alarms by boot time. They go off only while `run` is running.

    `jumps` returns what happened to the clocks since it was last called.
    """

    def __init__(
        self,
        clock: Clock,
        observer: Observer,
        jumps: Callable[[], tuple[ClockJumped, ...]],
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._jumps = jumps
        self._heartbeat = heartbeat
        self._deadlines = Deadlines()
        self._busy = asyncio.Event()
        """Set while alarms go off, and when they should, or when the next deadline has moved."""
        self._sooner = self._busy.set
        """One bound method, shared by all alarms."""
        self._misses = 0
        # UTC, because looking for the host's time zone fails in minimal containers. The debug
        # executor calls the job directly, without a thread or a task.
        self._scheduler: Any = AsyncIOScheduler(
            timezone=UTC, executors={"default": DebugExecutor()}
        )
        self._trigger = RemainingTrigger(self._remaining)
        # With a grace time, a job that is later than that would be dropped.
        self._job: Any = self._scheduler.add_job(self._ring, self._trigger, misfire_grace_time=None)

    def alarm(self) -> BootAlarm:
        """Return a new alarm."""
        return BootAlarm(self._deadlines, self._sooner)

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds the next alarm has been due, 0 if it is not due yet."""
        return max(0.0, now - self._deadlines.head)

    async def run(self) -> None:
        """Fire due alarms until cancelled. Raises an ExceptionGroup if something breaks."""
        self._scheduler.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._wake_tasks())
                tasks.create_task(self._watch())
        finally:
            self._scheduler.shutdown(wait=False)

    async def _wake_tasks(self) -> None:
        while True:
            self._busy.set()
            while self._wake_batch():  # noqa: ASYNC110  # the woken tasks need time, not an event
                await asyncio.sleep(PAUSE_SECONDS)
            self._busy.clear()
            self._job.reschedule(self._trigger)
            await self._busy.wait()

    def _wake_batch(self) -> bool:
        """Fire some of the due alarms; return whether there may be more."""
        due = self._deadlines.pop_due(self._clock.now(), BATCH)
        for alarm in due:
            alarm.wake()
        return len(due) == BATCH

    def _ring(self) -> None:
        """Handle APScheduler's call. It must not raise: APScheduler would swallow the error."""
        self._misses = 0
        if self._wake_batch():
            self._busy.set()

    def _remaining(self) -> float:
        """Return the seconds to the next deadline; NEVER while that is still changing."""
        return NEVER if self._busy.is_set() else self._deadlines.head - self._clock.now()

    async def _watch(self) -> None:
        """Report lag and clock jumps, and let the alarms go off that were missed because of them.

        Raises RuntimeError if APScheduler no longer rings.
        """
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._heartbeat
            await asyncio.sleep(self._heartbeat)
            self._observer.observe(LoopLagged(max(0.0, loop.time() - due)))
            jumps = self._jumps()
            for jump in jumps:
                self._observer.observe(jump)
            overdue = self.overdue(self._clock.now())
            # While a large number of due alarms go off in batches, none of them was missed.
            if overdue > LATE_SECONDS and not jumps and not self._busy.is_set():
                self._misses += 1
                if self._misses > TOLERATED_MISSES:
                    raise RuntimeError("APScheduler no longer rings; its alarms are all missed")
            if overdue or jumps:
                self._busy.set()
