"""APScheduler as an alarm clock with one hand: its only job rings when the next deadline is due.

APScheduler has no type information: what is Any stays in this module. It knows the
wall clock only, so whoever aims it must aim again after a jump.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

SOONEST = 0.001
"""A trigger that returns a time not later than now makes APScheduler loop for ever."""

FARTHEST = 86_400.0
"""Aim no further than this, in seconds: a date 136 years off, or none at all, is of no use."""

# At INFO, which an application may set for all loggers, a firing costs 75 % more.
logging.getLogger("apscheduler").setLevel(logging.ERROR)


class HeadTrigger(BaseTrigger):  # type: ignore[misc]  # a class of Any
    """Aims at the next deadline, which is `remaining()` seconds off."""

    __slots__ = ("_remaining",)

    def __init__(self, remaining: Callable[[], float]) -> None:
        self._remaining = remaining

    def get_next_fire_time(self, _previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return when to ring next."""
        return now + timedelta(seconds=min(max(self._remaining(), SOONEST), FARTHEST))


class Wakeup:
    """Calls `ring` when `remaining()`, as it was when last aimed, has passed on the wall clock.

    `ring` is called from the event loop and must not raise: APScheduler would swallow it.
    """

    def __init__(self, remaining: Callable[[], float], ring: Callable[[], None]) -> None:
        self._trigger = HeadTrigger(remaining)
        # The zone is named because looking for the host's fails in bare containers; the
        # executor calls the job on the spot, where the default one takes a thread or a task.
        self._scheduler: Any = AsyncIOScheduler(
            timezone=UTC, executors={"default": DebugExecutor()}
        )
        # By default a job that is more than a second late is dropped.
        self._job: Any = self._scheduler.add_job(ring, self._trigger, misfire_grace_time=None)

    def start(self) -> None:
        """Start to keep time, in the running event loop."""
        self._scheduler.start()

    def aim(self) -> None:
        """Ask anew how long it is to the next deadline."""
        self._job.reschedule(self._trigger)

    def stop(self) -> None:
        """Ring no more."""
        self._scheduler.shutdown(wait=False)
