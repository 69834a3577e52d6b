"""The Schedule: wakes whoever is due, and keeps an eye on the clocks and on APScheduler."""

import asyncio
from collections.abc import Callable

from refresherd.adapters.scheduling.alarms import BootAlarm
from refresherd.adapters.scheduling.deadlines import Deadlines
from refresherd.adapters.scheduling.wakeup import Wakeup
from refresherd.domain.events import ClockJumped, LoopLagged
from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER
from refresherd.engine.ports import Clock, Observer

BATCH = 64
"""So many sleepers are woken before the loop gets to run them: all at once would hold it up."""

PAUSE = 0.02
"""Seconds between two full batches. A core serves fewer apps than these 3,200 a second; more
of them awake would only wait for each other, at 6 KiB each."""

HEARTBEAT = 1.0
"""Seconds of the event loop's clock, which stands still in a suspend: this is how long
after a resume, or after a step of the wall clock, an alarm may be late."""

LATE = 0.5
"""An alarm that is later than this, in seconds, was missed by APScheduler."""

MISSES = 3
"""Misses in a row that are put down to small steps of the wall clock; more are a fault."""


class BootSchedule:
    """The timeline of boot time.

    `jumps` tells what happened to the clocks since it was last called. Nothing goes
    off before `run` runs.
    """

    def __init__(
        self,
        clock: Clock,
        observer: Observer,
        jumps: Callable[[], tuple[ClockJumped, ...]],
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._jumps = jumps
        self._heartbeat = heartbeat
        self._deadlines: Deadlines[BootAlarm] = Deadlines()
        self._stir = asyncio.Event()
        """Set while sleepers are woken, or are to be, or the next deadline has moved."""
        self._sooner = self._stir.set
        self._wakeup = Wakeup(self._remaining, self._ring)
        self._misses = 0

    def alarm(self) -> BootAlarm:
        """Return a new alarm clock."""
        return BootAlarm(self._deadlines, self._sooner)

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds the next alarm has been due, 0 if it is not."""
        return max(0.0, now - self._deadlines.head)

    async def run(self) -> None:
        """Keep time until cancelled, once. Raises an ExceptionGroup of what broke it."""
        self._wakeup.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._wake_sleepers())
                tasks.create_task(self._watch())
        finally:
            self._wakeup.stop()

    async def _wake_sleepers(self) -> None:
        while True:
            self._stir.set()
            while self._wake_batch():  # noqa: ASYNC110  # it is time that they need, not an event
                await asyncio.sleep(PAUSE)
            self._stir.clear()
            self._wakeup.aim()
            await self._stir.wait()

    def _wake_batch(self) -> bool:
        """Wake some of who is due, and tell whether there may be more."""
        due = self._deadlines.pop_due(self._clock.now(), BATCH)
        for alarm in due:
            alarm.wake()
        return len(due) == BATCH

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._heartbeat
            await asyncio.sleep(self._heartbeat)
            self._observer.observe(LoopLagged(max(0.0, loop.time() - due)))
            self._check()

    def _check(self) -> None:
        """Tell of jumps, and wake whoever was missed on account of them."""
        jumps = self._jumps()
        for jump in jumps:
            self._observer.observe(jump)
        overdue = self.overdue(self._clock.now())
        # While the many who are due are still being woken, nobody was missed.
        if overdue > LATE and not jumps and not self._stir.is_set():
            self._misses += 1
            if self._misses > MISSES:
                raise RuntimeError("APScheduler rings no more")
        if overdue or jumps:
            self._stir.set()

    def _ring(self) -> None:
        self._misses = 0
        if self._wake_batch():
            self._stir.set()

    def _remaining(self) -> float:
        """Return when to ring next; while sleepers are being woken that is not known yet."""
        return NEVER if self._stir.is_set() else self._deadlines.head - self._clock.now()
