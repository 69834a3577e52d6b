"""Which apps run: starts and stops their keepers, and answers for all of them."""

import asyncio
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from typing import NoReturn, TypeVar

from refresherd.domain.events import AppCrashed
from refresherd.domain.model import App, Instant
from refresherd.domain.readiness import AppStatus
from refresherd.domain.reload_plan import ReloadPlan
from refresherd.domain.session_state import begin
from refresherd.engine.app_context import MakeAppContext
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import Context
from refresherd.engine.ports import Observer
from refresherd.engine.state_cell import StateCell

T = TypeVar("T")

BATCH = 64
"""Apps started, stopped or visited before the event loop gets its turn."""

PAUSE = 0.02
"""Seconds between two batches of a round: ten thousand attempts at once would hold up the loop
for half a second, and then wait in memory for each other."""


class Supervisor:
    """Runs a keeper for each app; a Roster for readers, complete from the start."""

    def __init__(
        self, apps: Iterable[App], make_app_context: MakeAppContext, context: Context
    ) -> None:
        self._make_app_context = make_app_context
        self._context = context
        self._runners = {app.name: AppRunner(app, make_app_context(app), context) for app in apps}
        self._leaving: dict[AppRunner, None] = {}
        """Whose apps are gone, and whose sessions are still to be ended."""
        self._runs = _Runs()
        self._refreshes = _Rounds(AppRunner.refresh, context)
        self._looks = _Rounds(AppRunner.reloaded, context)
        self._started = asyncio.Event()

    def statuses(self) -> Iterator[AppStatus]:
        """Return what is known of every app, in the configuration's order."""
        return (runner.status() for runner in tuple(self._runners.values()))

    def status(self, name: str) -> AppStatus | None:
        """Return what is known of an app, None if there is none of that name."""
        runner = self._runners.get(name)
        return None if runner is None else runner.status()

    def kept(self, name: str) -> AppRunner | None:
        """Return an app's keeper, None if there is none of that name."""
        return self._runners.get(name)

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds the app that is worst off has waited to be attended to."""
        return max((runner.overdue(now) for runner in self._runners.values()), default=0.0)

    def refresh_all(self) -> None:
        """Have every app refreshed as soon as `run` runs, a batch at a time."""
        self._refreshes.request()

    async def run(self) -> None:
        """Keep all apps until cancelled."""
        try:
            async with self._runs.tasks as tasks:
                # They never end: a reload may stop every app, and a group without tasks
                # takes no new ones.
                tasks.create_task(self._refreshes.run(lambda: self._runners))
                tasks.create_task(self._looks.run(lambda: self._runners))
                async for runner in _in_batches(tuple(self._runners.values())):
                    self._runs.start(runner)
                self._started.set()
        finally:
            for runner in self._runners.values():
                runner.close()

    async def apply(self, steps: ReloadPlan, order: Iterable[str], *, end_sessions: bool) -> None:
        """Carry out a reload's plan while `run` runs; `order` is the new one of the apps.

        The apps that it does not name are left alone, but for a look at their credentials.
        With `end_sessions` the sessions of the apps that go are ended. Nothing is started
        before what it may take a path over from has been stopped.
        """
        await self._started.wait()
        gone = await self._dismiss(steps, end_sessions=end_sessions)
        if end_sessions:
            # Outputs first, and awaited: their paths may be another app's from here on.
            await _each(gone, AppRunner.clear, self._context.observer)
            self._runs.tasks.create_task(self._end(gone))
        await self._runs.stop([app.name for app in steps.retune])
        async for app in _in_batches(steps.retune):
            self._runners[app.name] = self._runners[app.name].retuned(
                app, self._make_app_context(app)
            )
        async for app in _in_batches(steps.start):
            self._runners[app.name] = self._runner(app)
        async for app in _in_batches((*steps.restart, *steps.retune, *steps.start)):
            self._runs.start(self._runners[app.name])
        self._runners = {name: self._runners[name] for name in order}
        self._looks.request()

    async def end_sessions(self) -> None:
        """End every app's sessions, once `run` was cancelled and awaited."""
        runners = (*self._leaving, *self._runners.values())
        await _each(runners, _clear_and_end, self._context.observer)

    async def _dismiss(self, steps: ReloadPlan, *, end_sessions: bool) -> list[AppRunner]:
        """Stop and return the keepers that go; those of apps that begin anew are replaced.

        So nobody who asks is ever told that such an app does not exist.
        """
        successors = dict.fromkeys(steps.stop) | {app.name: app for app in steps.restart}
        await self._runs.stop(successors)
        gone = []
        async for name, app in _in_batches(successors.items()):
            runner = self._runners.pop(name)
            if app is not None:
                self._runners[name] = self._runner(app, runner.view.session.generation)
            if end_sessions:
                self._leaving[runner] = None
            runner.close()
            await runner.disown()
            gone.append(runner)
        return gone

    async def _end(self, gone: Collection[AppRunner]) -> None:
        await _each(gone, AppRunner.end, self._context.observer)
        for runner in gone:
            del self._leaving[runner]

    def _runner(self, app: App, generation: int = 0) -> AppRunner:
        cell = StateCell(begin(self._context.clock.now(), generation, by_operator=True))
        return AppRunner(app, self._make_app_context(app), self._context, cell)


class _Runs:
    """The tasks in which keepers run."""

    def __init__(self) -> None:
        self.tasks = asyncio.TaskGroup()
        self._by_app: dict[str, asyncio.Task[NoReturn]] = {}

    def start(self, runner: AppRunner) -> None:
        """Have an app kept."""
        self._by_app[runner.app.name] = self.tasks.create_task(runner.run())

    async def stop(self, names: Iterable[str]) -> None:
        """Have apps kept no more; return when nothing of them is under way."""
        stopped = []
        async for name in _in_batches(names):
            task = self._by_app.pop(name)
            task.cancel()
            stopped.append(task)
        if stopped:
            await asyncio.wait(stopped)


class _Rounds:
    """Visits every keeper, a batch at a time, when asked to; and once more if asked meanwhile."""

    def __init__(self, visit: Callable[[AppRunner], None], context: Context) -> None:
        self._visit = visit
        self._context = context
        self._wanted = asyncio.Event()

    def request(self) -> None:
        """Have a round made."""
        self._wanted.set()

    async def run(self, runners: Callable[[], Mapping[str, AppRunner]]) -> NoReturn:
        """Make rounds until cancelled; `keepers` returns them by app, as they are now."""
        alarm = self._context.schedule.alarm()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for number, name in enumerate(tuple(runners()), start=1):
                # A reload may have replaced the keeper since the round began.
                runner = runners().get(name)
                if runner is not None:
                    self._visit(runner)
                if number % BATCH == 0:
                    await alarm.wait(Instant(self._context.clock.now() + PAUSE))


async def _in_batches(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield them, and give the event loop its turn now and then."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % BATCH == 0:
            await asyncio.sleep(0)


async def _each(
    runners: Collection[AppRunner],
    work: Callable[[AppRunner], Coroutine[None, None, None]],
    observer: Observer,
) -> None:
    """Do something with keepers that do not run any more; a bug in one stays its own."""
    outcomes = await asyncio.gather(*map(work, runners), return_exceptions=True)
    for runner, outcome in zip(runners, outcomes, strict=True):
        if isinstance(outcome, Exception):
            observer.observe(AppCrashed(runner.app.name, outcome, restart_in=0.0))


async def _clear_and_end(runner: AppRunner) -> None:
    await runner.clear()
    await runner.end()
