"""A machine in memory with a fleet of apps, to be reloaded and observed from outside."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from refresherd.domain.errors import OutputError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import (
    ApiKeyFile,
    App,
    Endpoint,
    FileSpec,
    Format,
    Grant,
    Instant,
    Secret,
    Timing,
    Token,
)
from refresherd.domain.readiness import AppStatus
from refresherd.domain.reload_plan import diff
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import AppContext, Context
from refresherd.engine.supervisor import Supervisor
from support.fake_app import running
from support.fakes import (
    ENTITY_ID,
    FakeClock,
    FakeCredential,
    FakeSchedule,
    FakeSessionStore,
    NeverAltered,
    RecordingObserver,
)

ONE, TWO = "https://one.example.com", "https://two.example.com"
BUG = RuntimeError("bug")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to DSM in an app's name."""

    app: str
    url: str
    operation: str


class Machine:
    """Two DSMs, the keys and the files of a machine, and the fleet that runs on it.

    A token is `URL KEY NUMBER`, and each DSM accepts only its own. A DSM in `hanging` does not
    answer, and keys in `refused` are wrong. A file in `stuck` cannot be written, one in `hung`
    does not answer, and one in `broken` has a bug. `sessions` outlive a restart. Each access takes
    `turns` of the event loop.
    """

    def __init__(self, *apps: App, turns: int = 0) -> None:
        self.clock = FakeClock()
        self.schedule = FakeSchedule(self.clock)
        self.observer = RecordingObserver()
        self.keys: dict[Path, str] = defaultdict(lambda: "key")
        self.files: dict[Path, Token] = {}
        self.owned: set[Path] = set()
        self.written: list[Path] = []
        self.requests: list[Asked] = []
        self.granted: set[str] = set()
        self.ended: set[str] = set()
        self.hanging: set[str] = set()
        self.refused: set[str] = set()
        self.stuck: set[Path] = set()
        self.hung: set[Path] = set()
        self.broken: set[Path] = set()
        self.equipped: list[str] = []
        self.sessions: dict[str, FakeSessionStore] = {}
        self.apps = apps
        self._turns = turns
        self._gates: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(99))
        context = Context(self.clock, self.schedule, self.observer, lambda: 0.0)
        self.supervisor = Supervisor(apps, self._make_app_context, context)

    async def reload(self, *apps: App, end_sessions: bool = False) -> list[Asked]:
        """Reload to these apps, and return the requests to DSM meanwhile."""
        before = len(self.requests)
        await self.apply(*apps, end_sessions=end_sessions)
        await self.schedule.advance(0)
        return self.requests[before:]

    async def apply(self, *apps: App, end_sessions: bool = False) -> None:
        """Reload to these apps, and wait for nothing else."""
        steps, self.apps = diff(self.apps, apps), apps
        names = [app.name for app in apps]
        await self.supervisor.apply(steps, names, end_sessions=end_sessions)

    def status(self, name: str) -> AppStatus:
        """Return the status of a configured app."""
        status = self.supervisor.status(name)
        assert status is not None
        return status

    def runner(self, name: str) -> AppRunner:
        """Return the runner of a configured app."""
        runner = self.supervisor.runner(name)
        assert runner is not None
        return runner

    def holder(self, path: str) -> str:
        """Return the app whose newest token is in a file."""
        held = self.files[Path(path)]
        return next(app.name for app in self.apps if self.status(app.name).session.token == held)

    async def turn(self) -> None:
        """Let others go first."""
        for _ in range(self._turns):
            await asyncio.sleep(0)

    def _make_app_context(self, app: App) -> AppContext:
        assert isinstance(app.credential, ApiKeyFile)
        self.equipped.append(app.name)
        gate = self._gates[app.endpoint.url]
        outputs = tuple(File(self, spec.path) for spec in app.files)
        key, sessions = Key(self, app.credential.path), self.sessions.get(app.name)
        return AppContext(Dsm(self, app), key, gate, gate, outputs, session_store=sessions)


class Key(FakeCredential):
    """The key file of an app."""

    def __init__(self, machine: Machine, path: Path) -> None:
        super().__init__()
        self._machine = machine
        self._path = path

    async def read(self) -> Secret:
        """Return what is in the file now."""
        await self._machine.turn()
        return Secret(self._machine.keys[self._path])


class Dsm:
    """A DSM as one app sees it."""

    def __init__(self, machine: Machine, app: App) -> None:
        self._machine = machine
        self._app = app.name
        self._url = app.endpoint.url

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Grant a session to any key that is not refused."""
        await self._answer("login", timeout)
        if credential.reveal() in self._machine.refused:
            raise Rejected(Reason.REJECTED, "bad key")
        return self._granted(credential.reveal())

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Grant another session for one of this DSM's own."""
        url, key, _ = token.reveal().split()
        assert url == self._url, "a token was sent to the wrong server"
        await self._answer("reauth", timeout)
        if token.reveal() in self._machine.ended:
            raise SessionLost("Session does not exist")
        return self._granted(key)

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Record the request only."""
        await self._answer("keep_alive", timeout)
        return token.reveal()

    async def terminate(self, token: Secret, timeout: float) -> None:
        """End a session."""
        assert token.reveal().startswith(self._url), "a token was sent to the wrong server"
        await self._answer("terminate", timeout)
        self._machine.ended.add(token.reveal())

    async def _answer(self, operation: str, timeout: float) -> None:
        machine = self._machine
        machine.requests.append(Asked(self._app, self._url, operation))
        await machine.turn()
        if self._url in machine.hanging:
            await machine.schedule.alarm().wait(Instant(machine.clock.now() + timeout))
            raise Retryable(Reason.TIMEOUT, "no answer")

    def _granted(self, key: str) -> Grant:
        token = f"{self._url} {key} {len(self._machine.granted)}"
        self._machine.granted.add(token)
        return Grant(Secret(token), ENTITY_ID, 600.0)


class File(NeverAltered):
    """A file in the machine's memory: an Output that one app at a time may own."""

    removes_expired = False

    def __init__(self, machine: Machine, path: Path) -> None:
        self._machine = machine
        self._path = path

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    async def prepare(self) -> None:
        """Take the path."""
        assert self._path not in self._machine.owned
        self._machine.owned.add(self._path)

    async def put(self, token: Token) -> None:
        """Write the file."""
        await self._access()
        self._machine.files[self._path] = token
        self._machine.written.append(self._path)

    async def remove(self) -> None:
        """Remove the file."""
        await self._access()
        self._machine.files.pop(self._path, None)

    def close(self) -> None:
        """Leave the path to others."""
        self._machine.owned.discard(self._path)

    def leave(self) -> None:
        """Leave the path to the next run."""
        self.close()

    async def discard(self) -> str:
        """Remove the file for good."""
        await self.remove()
        return ""

    async def _access(self) -> None:
        await self._machine.turn()
        if self._path in self._machine.hung:
            await asyncio.Event().wait()
        if self._path in self._machine.broken:
            raise BUG
        if self._path in self._machine.stuck:
            raise OutputError("no space left on device")


def an_app(
    name: str,
    *files: str,
    url: str = ONE,
    key: str = "",
    at: float = 0.5,
    form: Format = Format.RAW,
) -> App:
    """Return an app as configured."""
    specs = tuple(FileSpec(Path(file), form) for file in files)
    return App(name, Endpoint(url), ApiKeyFile(Path(key or name)), Timing(at=at), specs)


@asynccontextmanager
async def machine(*apps: App, turns: int = 0) -> AsyncIterator[Machine]:
    """Run a machine whose apps have been up for 10 s."""
    made = Machine(*apps, turns=turns)
    async with running(made.supervisor.run()):
        await made.schedule.advance(10)
        yield made
