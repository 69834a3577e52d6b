"""A simulated host on which the real core runs apps: keys, files, hooks and restarts."""

import asyncio
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from pathlib import Path

from refresherd.domain.errors import HookError, NoSuchApp, NoToken, OutputError
from refresherd.domain.model import (
    ApiKeyFile,
    App,
    Endpoint,
    FileSpec,
    HookSpec,
    Secret,
    Timing,
    Token,
)
from refresherd.domain.reload_plan import diff
from refresherd.engine.context import AppContext, Context
from refresherd.engine.supervisor import Supervisor
from refresherd.engine.token_broker import Broker
from simulations.model_dsm import Habits, ModelClient, ModelDsm
from simulations.promises import Promises
from simulations.troubles import Kind, Troubles
from support.fakes import ENTITY_ID, FakeCredential, NeverAltered, settle
from support.simulation import Machine

PATIENCE = 10.0
"""Seconds after which an output that does not answer is given up, like a file."""

LOOK_EVERY = 7.3
"""Seconds between two reads by the consumers."""


class Bug(RuntimeError):
    """The exception of a planned bug."""


class Key(FakeCredential):
    """A key file that holds the wrong key for a while."""

    def __init__(self, troubles: Troubles, app: str) -> None:
        super().__init__("right", ENTITY_ID)
        self._troubles = troubles
        self._app = app

    async def read(self) -> Secret:
        """Return the current key."""
        return Secret("wrong" if self._troubles.now(Kind.WRONG_KEY, self._app) else "right")

    async def stamp(self) -> Hashable:
        """Return how often the file was written."""
        return self._troubles.changes(Kind.WRONG_KEY, self._app)


class ModelFile(NeverAltered):
    """A file that outlives the daemon: an Output."""

    removes_expired = False

    def __init__(self, host: "Host", app: str, path: str) -> None:
        self._host = host
        self._app = app
        self._generation = 0
        self.name = path

    async def prepare(self) -> None:
        """Check that a token could be written."""
        await self._access()

    async def put(self, token: Token) -> None:
        """Write this token."""
        self._host.promises.put(self._app, token, newer_than=self._generation)
        await self._access()
        self._generation = token.generation
        self._host.files[self.name] = token

    async def remove(self) -> None:
        """Remove the file."""
        await self._access()
        self._host.files.pop(self.name, None)

    def close(self) -> None:
        """Do nothing, as a file does."""

    async def _access(self) -> None:
        troubles = self._host.troubles
        if troubles.now(Kind.BUG, self._app):
            raise Bug
        if troubles.now(Kind.STUCK, self._app):
            await asyncio.sleep(PATIENCE)
            raise OutputError("no answer")
        if troubles.now(Kind.FULL, self._app):
            raise OutputError("no space left on device")


class ModelHook:
    """A hook that fails every third time, and checks what consumers of the files would read."""

    name = "reload"

    def __init__(self, host: "Host", app: App) -> None:
        self._host = host
        self._app = app
        self._runs = count(1)

    async def run(self, generation: int) -> str:
        """Check the files; a run that is cancelled has to be repeated."""
        files = [self._host.files.get(str(spec.path)) for spec in self._app.files]
        await asyncio.sleep(0.5)
        self._host.promises.hook(self._app.name, generation, files)
        if next(self._runs) % 3 == 0:
            raise HookError("exit status 1")
        return ""


class Host:
    """Runs the daemon's core on a simulated machine."""

    def __init__(self, habits: Habits, rand: Callable[[], float]) -> None:
        self.machine = Machine()
        self.troubles = Troubles(lambda: self.machine.boot)
        self.dsm = ModelDsm(lambda: self.machine.boot, habits, self.troubles)
        self.promises = Promises(self.dsm)
        self.files: dict[str, Token] = {}
        self.apps: tuple[App, ...] = ()
        self.supervisor: Supervisor
        self.broker: Broker
        self._rng = rand
        self._running: list[asyncio.Task[object]] = []
        self._gates: list[asyncio.Semaphore] = []

    async def start(
        self, apps: Iterable[App], keep: Callable[..., asyncio.Task[object]] = asyncio.create_task
    ) -> None:
        """Start the daemon; `keep` creates the task that runs its apps."""
        self.apps = tuple(apps)
        for app in self.apps:
            self._anew(app)
        schedule = self.machine.schedule(self.promises)
        context = Context(self.machine, schedule, self.promises, self._rng)
        self.supervisor = Supervisor(self.apps, self._make_app_context, context)
        self.promises.roster = self.supervisor
        self.broker = Broker(self.supervisor, self.machine)
        self._running = [asyncio.create_task(schedule.run()), keep(self.supervisor.run())]

    async def stop(self, *, end_sessions: bool = False) -> None:
        """Stop the daemon; only its files may be left."""
        schedule, apps = self._running
        apps.cancel()
        await asyncio.wait({apps})
        if end_sessions:
            self.promises.leave(app.name for app in self.apps)
            await self.supervisor.end_sessions()
        schedule.cancel()
        await asyncio.wait({schedule})
        for app in self.apps:
            self.promises.orphan(app.name)
        assert not any(gate.locked() for gate in self._gates), "a slot was not released"

    async def reload(self, apps: Iterable[App], *, end_sessions: bool = False) -> None:
        """Reload to these apps."""
        new = tuple(apps)
        steps = diff(self.apps, new)
        gone = (*steps.stop, *(app.name for app in steps.restart))
        if end_sessions:
            self.promises.leave(gone)
        for app in (*steps.start, *steps.restart, *steps.retune):
            self._anew(app)
        # Meanwhile only apps that stay are checked.
        self.apps = tuple(app for app in self.apps if app.name not in gone)
        await self.supervisor.apply(steps, [app.name for app in new], end_sessions=end_sessions)
        for name in gone:
            self.promises.orphan(name)
        self.apps = new

    async def consume(self) -> None:
        """Act as the consumers of all apps: read the files and ask the daemon, again and again.

        Never in the middle of an instant: until all that is due has run, a file may be behind.
        """
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for app in self.apps:
                await self.ask(app.name)
                await settle()
                for spec in app.files:
                    self.promises.read(app, self.files.get(str(spec.path)))
                self.promises.hold(app)

    async def ask(self, app: str, min_ttl: float = 0.0, wait: float = 0.0) -> None:
        """Ask the daemon for a token, and use it."""
        try:
            token = await self.broker.token(app, min_ttl, wait)
        except (NoToken, NoSuchApp):
            return
        self.promises.handed(app, token, min_ttl)

    def _anew(self, app: App) -> None:
        self.troubles.begin(Kind.STARTED, app=app.name)
        self.promises.keep(app)

    def _gate(self) -> asyncio.Semaphore:
        """Return a gate for one app that admits one attempt: an unreleased slot would show."""
        self._gates.append(asyncio.Semaphore(1))
        return self._gates[-1]

    def _make_app_context(self, app: App) -> AppContext:
        name = app.name
        return AppContext(
            ModelClient(self.dsm, name, self.promises.end),
            Key(self.troubles, name),
            self._gate(),
            self._gate(),
            tuple(ModelFile(self, name, str(spec.path)) for spec in app.files),
            tuple(ModelHook(self, app) for _ in app.hooks),
        )


def an_app(name: str, timing: Timing, url: str = "https://one.example.com") -> App:
    """Return an app with a file and a hook."""
    files, hooks = (FileSpec(Path(f"/run/{name}.token")),), (HookSpec(("reload",)),)
    return App(name, Endpoint(url), ApiKeyFile(Path(name)), timing, files, (), hooks)
