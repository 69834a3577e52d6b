"""Decides which apps run: starts, stops and replaces their runners, and finds them by name."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Iterator
from typing import NoReturn, TypeVar

from refresherd.domain.events import AppCrashed
from refresherd.domain.model import App, Instant
from refresherd.domain.readiness import AppStatus
from refresherd.domain.reload_plan import ReloadPlan
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import begin
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import AppContext, Context, StateCell
from refresherd.engine.ports import Observer

T = TypeVar("T")

BATCH = 64
"""Apps started, stopped or visited before the event loop gets its turn."""

PAUSE = 0.02
"""Seconds between two batches of calls on request: ten thousand attempts at once would hold up the
loop for half a second, and then wait in memory for each other."""


class Supervisor:
    """Runs all apps. It is a Roster for readers, complete from the start."""

    def __init__(
        self,
        apps: Iterable[App],
        make_app_context: Callable[[App], AppContext],
        context: Context,
    ) -> None:
        self._make_app_context = make_app_context
        self._context = context
        self._runners = {app.name: AppRunner(app, make_app_context(app), context) for app in apps}
        self._names_units: bool | None = None
        """None until it is asked for."""
        self._ending: dict[AppRunner, None] = {}
        """The runners of removed apps whose sessions are still to be ended."""
        self._group = asyncio.TaskGroup()
        self._tasks: dict[str, asyncio.Task[NoReturn]] = {}
        self._refresh_requested = asyncio.Event()
        self._reloaded = asyncio.Event()
        self._started = asyncio.Event()

    def statuses(self) -> Iterator[AppStatus]:
        """Return every app's status, in the order of the configuration."""
        return (runner.status() for runner in tuple(self._runners.values()))

    def status(self, name: str) -> AppStatus | None:
        """Return an app's status, None if no app has that name."""
        runner = self._runners.get(name)
        return None if runner is None else runner.status()

    def reports(self) -> Iterator[AppReport]:
        """Return a report of every app, in the order of the configuration."""
        return (runner.report() for runner in tuple(self._runners.values()))

    def runner(self, name: str) -> AppRunner | None:
        """Return an app's runner, None if no app has that name."""
        return self._runners.get(name)

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds the most overdue app has been due and not started."""
        return max((runner.overdue(now) for runner in self._runners.values()), default=0.0)

    def runners(self) -> tuple[AppRunner, ...]:
        """Return every app's runner."""
        return tuple(self._runners.values())

    def names_units(self) -> bool:
        """Return whether the `access` of any app names units."""
        if self._names_units is None:
            self._names_units = any(one.app.access.units for one in self._runners.values())
        return self._names_units

    def refresh_all(self) -> None:
        """Refresh every app as soon as `run` runs, a batch at a time."""
        self._refresh_requested.set()

    async def run(self) -> None:
        """Run all apps until cancelled."""
        try:
            async with self._group as group:
                # They never end: a reload may stop every app, and a group without tasks
                # takes no new ones.
                group.create_task(self._on_request(self._refresh_requested, AppRunner.refresh))
                group.create_task(self._on_request(self._reloaded, AppRunner.reloaded))
                async for name, runner in in_batches(tuple(self._runners.items())):
                    self._tasks[name] = group.create_task(runner.run())
                self._started.set()
        finally:
            for runner in self._runners.values():
                runner.leave()

    async def apply(self, plan: ReloadPlan, order: Iterable[str], *, end_sessions: bool) -> None:
        """Carry out a reload's plan while `run` runs; `order` is the new order of the apps.

        Apps that the plan does not name are left alone, except that their credentials are
        checked for changes. With `end_sessions` the sessions of removed apps are ended. An app
        is started only after every app whose paths it may take over has been stopped.
        """
        await self._started.wait()
        removed = await self._remove(plan, end_sessions=end_sessions)
        if end_sessions:
            # Outputs first, and awaited: their paths may be another app's from here on.
            await _for_each(removed, AppRunner.clear, self._context.observer)
            self._group.create_task(self._end(removed))
        await _stop(self._tasks.pop(app.name) for app in plan.retune)
        # Before any app starts: the path of an old output may be another app's from here on.
        successors = {app.name: app for app in (*plan.restart, *plan.retune)}
        changed = (*removed, *(self._runners[app.name] for app in plan.retune))
        await _for_each(
            changed,
            lambda runner: runner.discard(successors.get(runner.app.name)),
            self._context.observer,
        )
        async for app in in_batches(plan.retune):
            app_context = self._make_app_context(app)
            self._runners[app.name] = self._runners[app.name].retuned(app, app_context)
        async for app in in_batches(plan.start):
            self._runners[app.name] = self._new_runner(app)
        async for app in in_batches((*plan.restart, *plan.retune, *plan.start)):
            self._tasks[app.name] = self._group.create_task(self._runners[app.name].run())
        self._runners = {name: self._runners[name] for name in order}
        for name in plan.stop:
            self._context.consumers.forget(name)
        self._names_units = None
        self._reloaded.set()

    async def end_sessions(self) -> None:
        """End every app's sessions, once `run` was cancelled and awaited."""
        runners = (*self._ending, *self._runners.values())
        await _for_each(runners, _clear_and_end, self._context.observer)

    async def _remove(self, plan: ReloadPlan, *, end_sessions: bool) -> list[AppRunner]:
        """Stop and return the runners of apps that are removed or restarted.

        A restarted app gets its new runner at once, so that it exists for readers all the time.
        """
        successors = dict.fromkeys(plan.stop) | {app.name: app for app in plan.restart}
        await _stop(self._tasks.pop(name) for name in successors)
        removed = []
        async for name, app in in_batches(successors.items()):
            runner = self._runners.pop(name)
            if app is not None:
                self._runners[name] = self._new_runner(app, runner.cell.session.generation)
            if end_sessions:
                self._ending[runner] = None
            runner.close()
            await runner.forget_session()
            removed.append(runner)
        return removed

    async def _end(self, removed: Collection[AppRunner]) -> None:
        await _for_each(removed, AppRunner.end_sessions, self._context.observer)
        for runner in removed:
            del self._ending[runner]

    async def _on_request(
        self, requested: asyncio.Event, call: Callable[[AppRunner], None]
    ) -> NoReturn:
        """Call something for every app on each request, a batch at a time, until cancelled.

        A request during a pass over the apps starts another pass after it.
        """
        alarm, clock = self._context.schedule.alarm(), self._context.clock
        while True:
            await requested.wait()
            requested.clear()
            for number, name in enumerate(tuple(self._runners), start=1):
                # A reload may have replaced the runner meanwhile.
                runner = self._runners.get(name)
                if runner is not None:
                    call(runner)
                if number % BATCH == 0:
                    await alarm.wait(Instant(clock.now() + PAUSE))

    def _new_runner(self, app: App, generation: int = 0) -> AppRunner:
        cell = StateCell(begin(self._context.clock.now(), generation, by_operator=True))
        return AppRunner(app, self._make_app_context(app), self._context, cell)


async def _stop(tasks: Iterable[asyncio.Task[NoReturn]]) -> None:
    """Cancel the tasks of apps; return when nothing of them is under way."""
    stopped = []
    async for task in in_batches(tasks):
        task.cancel()
        stopped.append(task)
    if stopped:
        await asyncio.wait(stopped)


async def in_batches(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and give the event loop its turn after each batch."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % BATCH == 0:
            await asyncio.sleep(0)


async def _for_each(
    runners: Collection[AppRunner],
    work: Callable[[AppRunner], Coroutine[None, None, None]],
    observer: Observer,
) -> None:
    """Do something with stopped runners; a bug in one does not affect the others."""
    outcomes = await asyncio.gather(*map(work, runners), return_exceptions=True)
    for runner, outcome in zip(runners, outcomes, strict=True):
        if isinstance(outcome, Exception):
            observer.observe(AppCrashed(runner.app.name, outcome, restart_in=0.0))


async def _clear_and_end(runner: AppRunner) -> None:
    await runner.clear()
    await runner.end_sessions()
