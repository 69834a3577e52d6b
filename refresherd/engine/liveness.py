"""Judges whether the daemon does its work, for `/livez` and systemd's watchdog."""

import asyncio
from collections.abc import Callable
from math import inf

from refresherd.domain.events import Event, LoopLagged
from refresherd.domain.model import Instant
from refresherd.engine.ports import Clock

HEARTBEAT_SECONDS = 1.0
"""How often the schedule reports how late the event loop is. It is the loop's clock, which stands
still in a suspend: an alarm may be this late after a resume or a step of the wall clock."""

MAX_LAG = 10.0
"""Seconds by which the event loop may be late. A loaded machine is not made faster by a restart."""

MAX_OVERDUE = 30.0
"""Seconds for which due work may wait to be started. After a resume ten thousand apps take four
seconds; work in progress has its own timeouts."""

LOOK_SECONDS = 1.0
"""Looking for overdue work takes milliseconds at ten thousand apps, so it is done this often."""

SHORTEST_SUSPEND = 1.0


class Liveness:
    """An Observer of the schedule's heartbeat. Belongs to the event loop.

    `overdue` returns for how many seconds the oldest due work has waited to be started.
    """

    def __init__(self, clock: Clock, overdue: Callable[[Instant], float]) -> None:
        self._clock = clock
        self._look = overdue
        self._lag = 0.0
        self._beat_at = inf
        """When the event loop last ran the heartbeat, by its own clock."""
        self._overdue = 0.0
        self._look_at = -inf
        self._slept = inf
        """By how much boot time is ahead of the loop's clock, which stands still in a suspend."""
        self._awake_since = -inf

    def observe(self, event: Event) -> None:
        """Note a heartbeat."""
        if isinstance(event, LoopLagged):
            self._lag = event.lag
            self._beat_at = self._note_suspend()

    def fault(self) -> str:
        """Return why the daemon is not doing its work, "" if it is."""
        now = self._note_suspend()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._overdue = self._look(self._clock.now())
        # During a suspend nothing could be started.
        overdue = min(self._overdue, now - self._awake_since)
        if overdue > MAX_OVERDUE:
            return f"due work has not been started for {overdue:.0f} s"
        lag = max(self._lag, now - self._beat_at - HEARTBEAT_SECONDS)
        if lag > MAX_LAG:
            return f"the event loop is {lag:.1f} s late"
        return ""

    def _note_suspend(self) -> float:
        """Return the loop's time, once a suspend before it is noted."""
        now = asyncio.get_running_loop().time()
        slept = self._clock.now() - now
        if slept > self._slept + SHORTEST_SUSPEND:
            self._awake_since = now
        self._slept = slept
        return now
