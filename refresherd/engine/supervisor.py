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
from refresherd.engine.app_context import Equip
from refresherd.engine.app_runner import Keeper
from refresherd.engine.context import World
from refresherd.engine.ports import Observer
from refresherd.engine.state_cell import Cell

T = TypeVar("T")

BATCH = 64
"""Apps started, stopped or visited before the event loop gets its turn."""

PAUSE = 0.02
"""Seconds between two batches of a round: ten thousand attempts at once would hold up the loop
for half a second, and then wait in memory for each other."""


class Supervisor:
    """Runs a keeper for each app; a Roster for readers, complete from the start."""

    def __init__(self, apps: Iterable[App], equip: Equip, world: World) -> None:
        self._equip = equip
        self._world = world
        self._keepers = {app.name: Keeper(app, equip(app), world) for app in apps}
        self._leaving: dict[Keeper, None] = {}
        """Whose apps are gone, and whose sessions are still to be ended."""
        self._runs = _Runs()
        self._refreshes = _Rounds(Keeper.refresh, world)
        self._looks = _Rounds(Keeper.reloaded, world)
        self._started = asyncio.Event()

    def statuses(self) -> Iterator[AppStatus]:
        """Return what is known of every app, in the configuration's order."""
        return (keeper.status() for keeper in tuple(self._keepers.values()))

    def status(self, name: str) -> AppStatus | None:
        """Return what is known of an app, None if there is none of that name."""
        keeper = self._keepers.get(name)
        return None if keeper is None else keeper.status()

    def kept(self, name: str) -> Keeper | None:
        """Return an app's keeper, None if there is none of that name."""
        return self._keepers.get(name)

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds the app that is worst off has waited to be attended to."""
        return max((keeper.overdue(now) for keeper in self._keepers.values()), default=0.0)

    def refresh_all(self) -> None:
        """Have every app refreshed as soon as `run` runs, a batch at a time."""
        self._refreshes.request()

    async def run(self) -> None:
        """Keep all apps until cancelled."""
        try:
            async with self._runs.tasks as tasks:
                # They never end: a reload may stop every app, and a group without tasks
                # takes no new ones.
                tasks.create_task(self._refreshes.run(lambda: self._keepers))
                tasks.create_task(self._looks.run(lambda: self._keepers))
                async for keeper in _in_batches(tuple(self._keepers.values())):
                    self._runs.start(keeper)
                self._started.set()
        finally:
            for keeper in self._keepers.values():
                keeper.close()

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
            await _each(gone, Keeper.clear, self._world.observer)
            self._runs.tasks.create_task(self._end(gone))
        await self._runs.stop([app.name for app in steps.retune])
        async for app in _in_batches(steps.retune):
            self._keepers[app.name] = self._keepers[app.name].retuned(app, self._equip(app))
        async for app in _in_batches(steps.start):
            self._keepers[app.name] = self._keeper(app)
        async for app in _in_batches((*steps.restart, *steps.retune, *steps.start)):
            self._runs.start(self._keepers[app.name])
        self._keepers = {name: self._keepers[name] for name in order}
        self._looks.request()

    async def end_sessions(self) -> None:
        """End every app's sessions, once `run` was cancelled and awaited."""
        keepers = (*self._leaving, *self._keepers.values())
        await _each(keepers, _clear_and_end, self._world.observer)

    async def _dismiss(self, steps: ReloadPlan, *, end_sessions: bool) -> list[Keeper]:
        """Stop and return the keepers that go; those of apps that begin anew are replaced.

        So nobody who asks is ever told that such an app does not exist.
        """
        successors = dict.fromkeys(steps.stop) | {app.name: app for app in steps.restart}
        await self._runs.stop(successors)
        gone = []
        async for name, app in _in_batches(successors.items()):
            keeper = self._keepers.pop(name)
            if app is not None:
                self._keepers[name] = self._keeper(app, keeper.view.life.generation)
            if end_sessions:
                self._leaving[keeper] = None
            keeper.close()
            await keeper.disown()
            gone.append(keeper)
        return gone

    async def _end(self, gone: Collection[Keeper]) -> None:
        await _each(gone, Keeper.end, self._world.observer)
        for keeper in gone:
            del self._leaving[keeper]

    def _keeper(self, app: App, generation: int = 0) -> Keeper:
        cell = Cell(begin(self._world.clock.now(), generation, asked=True))
        return Keeper(app, self._equip(app), self._world, cell)


class _Runs:
    """The tasks in which keepers run."""

    def __init__(self) -> None:
        self.tasks = asyncio.TaskGroup()
        self._by_app: dict[str, asyncio.Task[NoReturn]] = {}

    def start(self, keeper: Keeper) -> None:
        """Have an app kept."""
        self._by_app[keeper.app.name] = self.tasks.create_task(keeper.run())

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

    def __init__(self, visit: Callable[[Keeper], None], world: World) -> None:
        self._visit = visit
        self._world = world
        self._wanted = asyncio.Event()

    def request(self) -> None:
        """Have a round made."""
        self._wanted.set()

    async def run(self, keepers: Callable[[], Mapping[str, Keeper]]) -> NoReturn:
        """Make rounds until cancelled; `keepers` returns them by app, as they are now."""
        alarm = self._world.schedule.alarm()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for number, name in enumerate(tuple(keepers()), start=1):
                # A reload may have replaced the keeper since the round began.
                keeper = keepers().get(name)
                if keeper is not None:
                    self._visit(keeper)
                if number % BATCH == 0:
                    await alarm.wait(Instant(self._world.clock.now() + PAUSE))


async def _in_batches(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield them, and give the event loop its turn now and then."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % BATCH == 0:
            await asyncio.sleep(0)


async def _each(
    keepers: Collection[Keeper],
    work: Callable[[Keeper], Coroutine[None, None, None]],
    observer: Observer,
) -> None:
    """Do something with keepers that do not run any more; a bug in one stays its own."""
    outcomes = await asyncio.gather(*map(work, keepers), return_exceptions=True)
    for keeper, outcome in zip(keepers, outcomes, strict=True):
        if isinstance(outcome, Exception):
            observer.observe(AppCrashed(keeper.app.name, outcome, restart_in=0.0))


async def _clear_and_end(keeper: Keeper) -> None:
    await keeper.clear()
    await keeper.end()
