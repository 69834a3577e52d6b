"""Keeps one app's session alive: decides what is due, starts it, and sleeps until the next."""

import asyncio
from collections.abc import Coroutine
from typing import NoReturn, Protocol, assert_never

from refresherd.domain import operator_transitions, session_state
from refresherd.domain.events import TokenExpired
from refresherd.domain.model import Instant
from refresherd.domain.session_state import Action
from refresherd.engine.context import RunningApp
from refresherd.engine.renewal import Renewal


class PeriodicTask(Protocol):
    """Work that falls due in an app in addition to its renewals."""

    @property
    def due_at(self) -> Instant:
        """When `work` will have something to do, NEVER if it will not."""

    async def work(self) -> None:
        """Do what is due; what fails is due again later."""


class Refresher:
    """One app's only sleeping task.

    Attempts and periodic tasks run as separate tasks, one of each at a time, while `run`
    sleeps on: nothing that hangs may delay the others, or keep an expiry from being noticed.
    Between them an app is one sleeping task, so that ten thousand apps are cheap.
    """

    __slots__ = ("_alarm", "_app", "_periodic_tasks", "_renewal", "_under_way")

    def __init__(
        self, app: RunningApp, renewal: Renewal, periodic_tasks: tuple[PeriodicTask, ...]
    ) -> None:
        self._app = app
        self._renewal = renewal
        self._periodic_tasks = periodic_tasks
        self._alarm = app.context.schedule.alarm()
        self._under_way: tuple[Renewal | PeriodicTask, ...] = ()

    async def run(self) -> NoReturn:
        """Keep the app's session alive until cancelled. Raises an ExceptionGroup of bugs met."""
        while True:
            await self._alarm.wait(self._wake_at())
            await self._work()

    async def _work(self) -> None:
        """Do what is due, and what falls due meanwhile.

        In a frame of its own: that of a sleeping app would keep the group, at half a KiB.
        """
        async with asyncio.TaskGroup() as tasks:
            self._start_due(tasks)
            while self._under_way:
                await self._alarm.wait(self._wake_at())
                self._start_due(tasks)

    def refresh(self) -> None:
        """Make an attempt now, unless one is under way: its outcome schedules the next."""
        session, now = self._app.session, self._app.now()
        timing = self._app.settings.timing
        self._app.publish(operator_transitions.refresh_requested(session, now, timing))
        self._alarm.ring()

    def hasten(self) -> None:
        """Make an attempt now for a client that may only read the token."""
        session, now = self._app.session, self._app.now()
        timing = self._app.settings.timing
        self._app.publish(operator_transitions.hastened(session, now, timing))
        self._alarm.ring()

    def wake(self) -> None:
        """Start what is due by now: a periodic task was given something to do."""
        self._alarm.ring()

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds a renewal or an expiry has been due and not started."""
        return max(0.0, now - session_state.wake_at(self._app.session, busy=self._busy))

    @property
    def _busy(self) -> bool:
        return self._renewal in self._under_way

    def _wake_at(self) -> Instant:
        renewal_at = session_state.wake_at(self._app.session, busy=self._busy)
        idle = (task.due_at for task in self._periodic_tasks if task not in self._under_way)
        # Not ALWAYS: the watchdog asks for how long an alarm has been due.
        return max(self._app.now(), min((renewal_at, *idle)))

    def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        now = self._app.now()
        match session_state.next_action(self._app.session, now, busy=self._busy):
            case Action.EXPIRE:
                session = session_state.expired(self._app.session, now)
                self._app.publish(session)
                self._app.observe(TokenExpired(self._app.name, session.generation))
            case Action.ATTEMPT:
                self._start(tasks, self._renewal, self._renewal.attempt())
            case Action.CHECK:
                self._start(tasks, self._renewal, self._renewal.check())
            case None:
                pass  # a periodic task is due, or one has ended
            case unknown:
                assert_never(unknown)
        for task in self._periodic_tasks:
            if task not in self._under_way and task.due_at <= now:
                self._start(tasks, task, task.work())

    def _start(
        self,
        tasks: asyncio.TaskGroup,
        of: Renewal | PeriodicTask,
        work: Coroutine[None, None, None],
    ) -> None:
        def ended(_: asyncio.Task[None]) -> None:
            self._under_way = tuple(other for other in self._under_way if other is not of)
            self._alarm.ring()

        self._under_way = (*self._under_way, of)
        tasks.create_task(work).add_done_callback(ended)
