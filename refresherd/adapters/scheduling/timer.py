"""APScheduler as a timer: its only job rings when the next deadline is due.

APScheduler has no type information, so everything of type Any stays in this module. It knows
only the wall clock: after a jump of that clock, the timer has to be set again.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

SOONEST = 0.001
"""In seconds. A trigger whose next time is not later than now sends APScheduler into a loop."""

FARTHEST = 86_400.0
"""In seconds. APScheduler cannot handle a date in 136 years, or none."""

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


class Timer:
    """Calls `ring` after `remaining()` seconds of the wall clock, counted from the last `set`.

    `ring` is called in the event loop, and must not raise: APScheduler would swallow the error.
    """

    def __init__(self, remaining: Callable[[], float], ring: Callable[[], None]) -> None:
        self._trigger = RemainingTrigger(remaining)
        # UTC, because looking for the host's time zone fails in minimal containers. The debug
        # executor calls the job directly, without a thread or a task.
        self._scheduler: Any = AsyncIOScheduler(
            timezone=UTC, executors={"default": DebugExecutor()}
        )
        # Without this a job that is more than a second late would be dropped.
        self._job: Any = self._scheduler.add_job(ring, self._trigger, misfire_grace_time=None)

    def start(self) -> None:
        """Start the timer in the running event loop."""
        self._scheduler.start()

    def set(self) -> None:
        """Set the timer anew, by what `remaining()` returns now."""
        self._job.reschedule(self._trigger)

    def stop(self) -> None:
        """Stop the timer for good."""
        self._scheduler.shutdown(wait=False)
