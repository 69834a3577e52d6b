"""Keeps one app's session alive: sees what is due, has it done, sees when next."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import NoReturn, Protocol, assert_never

from refresherd.domain import operator_transitions, session_state
from refresherd.domain.events import TokenExpired
from refresherd.domain.model import App, Instant
from refresherd.domain.session_state import Action
from refresherd.engine.context import Context
from refresherd.engine.renewal import Renewal
from refresherd.engine.state_cell import StateCell


class PeriodicTask(Protocol):
    """What falls due in an app beside its renewals."""

    @property
    def due_at(self) -> Instant:
        """When `work` will have something to do, NEVER if it will not."""

    async def work(self) -> None:
        """Do what is due; what fails is due again later."""


class Refresher:
    """One app's only sleeper, and the one writer of its cell.

    Attempts and chores run as tasks, each one at a time, while `run` goes on waiting:
    nothing that hangs may keep an expiry from being noticed, nor hold up another. Between
    them an app is one sleeping task, so that ten thousand of them are cheap.
    """

    __slots__ = ("_alarm", "_app", "_cell", "_context", "_periodic_tasks", "_renewal", "_under_way")

    def __init__(
        self,
        app: App,
        cell: StateCell,
        renewal: Renewal,
        periodic_tasks: tuple[PeriodicTask, ...],
        context: Context,
    ) -> None:
        self._app = app
        self._cell = cell
        self._renewal = renewal
        self._periodic_tasks = periodic_tasks
        self._context = context
        self._alarm = context.schedule.alarm()
        self._under_way: tuple[Renewal | PeriodicTask, ...] = ()

    async def run(self) -> NoReturn:
        """Keep the app's session alive until cancelled. Raises an ExceptionGroup of bugs met."""
        while True:
            await self._alarm.wait(self._wake_at())
            await self._work()

    def refresh(self) -> None:
        """Make an attempt now. One that is under way serves, for its outcome sets the next."""
        now = self._context.clock.now()
        self._cell.publish(operator_transitions.hastened(self._cell.session, now, self._app.timing))
        self._alarm.ring()

    def attend(self) -> None:
        """See what is due now: somebody gave a chore something to do."""
        self._alarm.ring()

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds a renewal or an expiry has been due that is not begun."""
        busy = self._renewal in self._under_way
        return max(0.0, now - session_state.wake_at(self._cell.session, busy=busy))

    def _wake_at(self) -> Instant:
        busy = self._renewal in self._under_way
        renewal_at = session_state.wake_at(self._cell.session, busy=busy)
        periodic_tasks = (
            periodic_task.due_at
            for periodic_task in self._periodic_tasks
            if periodic_task not in self._under_way
        )
        # Not ALWAYS: the watchdog is told for how long an alarm has been due.
        return max(self._context.clock.now(), min((renewal_at, *periodic_tasks)))

    async def _work(self) -> None:
        """Do what is due, and what falls due meanwhile, until nothing is under way."""
        async with asyncio.TaskGroup() as tasks:
            self._act(tasks)
            while self._under_way:
                await self._alarm.wait(self._wake_at())
                self._act(tasks)

    def _act(self, tasks: asyncio.TaskGroup) -> None:
        now = self._context.clock.now()
        busy = self._renewal in self._under_way
        match session_state.next_action(self._cell.session, now, busy=busy):
            case Action.EXPIRE:
                self._expire(now)
            case Action.ATTEMPT:
                self._start(tasks, self._renewal, self._renewal.attempt())
            case Action.CHECK:
                self._start(tasks, self._renewal, self._renewal.check())
            case None:
                pass  # a chore is due, or a task has ended and what follows is due later
            case unknown:
                assert_never(unknown)
        for periodic_task in self._periodic_tasks:
            if periodic_task not in self._under_way and periodic_task.due_at <= now:
                self._start(tasks, periodic_task, periodic_task.work())

    def _expire(self, now: Instant) -> None:
        session = session_state.expired(self._cell.session, now)
        self._cell.publish(session)
        self._context.observer.observe(TokenExpired(self._app.name, session.generation))

    def _start(
        self,
        tasks: asyncio.TaskGroup,
        of: Renewal | PeriodicTask,
        work: Coroutine[None, None, None],
    ) -> None:
        self._under_way = (*self._under_way, of)
        tasks.create_task(work).add_done_callback(partial(self._ended, of))

    def _ended(self, of: Renewal | PeriodicTask, _: asyncio.Task[None]) -> None:
        self._under_way = tuple(other for other in self._under_way if other is not of)
        self._alarm.ring()
