"""Puts together what keeps apps, for the daemon and for a single shot; no decisions live here."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from refresherd.adapters import credentials
from refresherd.adapters.dsm import Connections
from refresherd.adapters.hooks import hooks
from refresherd.adapters.logs import Logs, captured, configure
from refresherd.adapters.outputs.file import FileOutput
from refresherd.adapters.outputs.socket import SocketOutput
from refresherd.adapters.scheduling import BootSchedule
from refresherd.adapters.state.login_file import LoginFile, UnsavedLogins
from refresherd.adapters.state.session_file import SessionFile
from refresherd.config import Log
from refresherd.domain.events import Event
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Instant,
    TokenFile,
    login_file,
    session_file,
)
from refresherd.engine.app_context import AppContext
from refresherd.engine.context import Context
from refresherd.engine.login_limiter import LoginLimiter
from refresherd.engine.ports import Chain, Observer, Output, Sessions
from refresherd.engine.supervisor import Supervisor
from refresherd.host.clock import BootClock, JumpDetector, boot_id
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.stale_temp_files import Leftovers
from refresherd.host.unix_sockets import Listen, bind

ENDING_TIMEOUT = 2.0
"""Seconds that ending the sessions may take on a stop; the rest idle out."""

DRAIN_TIMEOUT = 0.5
"""Seconds that a stop waits for writes that are under way."""

COMMANDS_AT_ONCE = 32
"""Hooks' commands that run at a time, so that ten thousand apps don't start as many processes."""

API_KEYS = (ApiKeyFile, ApiKeyEnv, ApiKeyCommand)
"""The credentials whose failed logins DSM counts."""


class Observers:
    """Tells several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def observe(self, event: Event) -> None:
        """Pass an event on."""
        for observer in self._observers:
            observer.observe(event)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts that run, and those that must be closed."""

    context: Context
    schedule: BootSchedule
    executor: KeyedExecutor
    connections: Connections
    login_limiter: LoginLimiter
    supervisor: Supervisor

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds something has been due that nobody has begun."""
        return max(self.schedule.overdue(now), self.supervisor.overdue(now))


def _no_sessions(_: App) -> None:
    """Return that no app's sessions outlive the process."""


@dataclass(frozen=True, slots=True)
class ServiceManagerResources:
    """What the service manager may give: listening sockets, and where sessions outlive us."""

    listen: Listen = bind
    sessions: Callable[[App], Sessions | None] = _no_sessions


NOTHING_GIVEN = ServiceManagerResources()


class AppContextFactory:
    """Equips apps; those of one endpoint share its gates, all of them connections and lanes.

    All that have an API key share the `ledger` of their logins.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # everything comes together here
        self,
        connections: Connections,
        executor: KeyedExecutor,
        context: Context,
        environ: Mapping[str, str],
        state_dir: Path | None,
        given: ServiceManagerResources,
    ) -> None:
        self._connections = connections
        self._executor = executor
        self._context = context
        self._environ = environ
        self._state_dir = state_dir
        self._given = given
        self._leftovers = Leftovers()
        store = UnsavedLogins() if state_dir is None else self._login_file(state_dir)
        self.login_limiter = LoginLimiter(store, context)
        self._commands = asyncio.Semaphore(COMMANDS_AT_ONCE)
        self._gates: dict[tuple[str, int], tuple[asyncio.Semaphore, asyncio.Semaphore]] = {}

    def __call__(self, app: App) -> AppContext:
        """Return what the app is kept with."""
        attempts, endings = self._gates_of(app.endpoint.url, app.endpoint.max_in_flight)
        return AppContext(
            client=self._connections.client(app),
            credential=credentials.source(app, self._environ, self._executor),
            attempts=attempts,
            endings=endings,
            outputs=self._outputs(app),
            hooks=hooks(app, self._environ, self._executor, self._commands),
            chain=self._chain(app),
            # Without a key the chain is what a restart goes on from.
            sessions=None if chained(app, self._state_dir) else self._given.sessions(app),
            logins=self.login_limiter if isinstance(app.credential, API_KEYS) else None,
        )

    def _outputs(self, app: App) -> tuple[Output, ...]:
        clock, executor = self._context.clock, self._executor
        files = (FileOutput(app, spec, clock, executor, self._leftovers) for spec in app.files)
        sockets = (
            SocketOutput(app, spec, self._context, executor, listen=self._given.listen)
            for spec in app.sockets
        )
        return (*files, *sockets)

    def _login_file(self, state_dir: Path) -> LoginFile:
        path, executor = login_file(state_dir), self._executor
        return LoginFile(path, boot_id(), self._context, executor, self._leftovers)

    def _chain(self, app: App) -> Chain | None:
        if self._state_dir is None or not chained(app, self._state_dir):
            return None
        path = session_file(self._state_dir, app.name)
        return SessionFile(app, path, self._context, self._executor, self._leftovers)

    def _gates_of(self, url: str, in_flight: int) -> tuple[asyncio.Semaphore, asyncio.Semaphore]:
        gates = self._gates.get((url, in_flight))
        if gates is None:
            gates = asyncio.Semaphore(in_flight), asyncio.Semaphore(max(1, in_flight // 4))
            self._gates[url, in_flight] = gates
        return gates


def chained(app: App, state_dir: Path | None) -> bool:
    """Return whether an app has no key, and keeps its newest session in the state directory."""
    return state_dir is not None and isinstance(app.credential, TokenFile)


def assemble(  # noqa: PLR0913, PLR0917  # everything comes together here
    apps: Iterable[App],
    environ: Mapping[str, str],
    clock: BootClock,
    observer: Observer,
    state_dir: Path | None = None,
    given: ServiceManagerResources = NOTHING_GIVEN,
) -> Assembly:
    """Return everything that keeps these apps, not yet running. `state_dir` is claimed before."""
    executor = KeyedExecutor()
    schedule = BootSchedule(clock, observer, JumpDetector().jumps)
    connections = Connections(executor, clock)
    # Spreading load needs no secrecy.
    context = Context(clock, schedule, observer, rng=random.random)
    factory = AppContextFactory(connections, executor, context, environ, state_dir, given)
    supervisor = Supervisor(apps, factory, context)
    return Assembly(context, schedule, executor, connections, factory.login_limiter, supervisor)


@contextmanager
def logging_to_stderr(log: Log, clock: BootClock) -> Iterator[Logs]:
    """Log as configured while the block runs, what libraries and the event loop report as well."""
    logs = configure(log.level, log.format, sys.stderr, clock)
    with captured(logs):
        asyncio.get_running_loop().set_exception_handler(logs.loop_failed)
        try:
            yield logs
        finally:
            logs.close()


@asynccontextmanager
async def keeping(
    assembly: Assembly, end_sessions: Callable[[], bool] = lambda: False
) -> AsyncIterator[None]:
    """Keep the apps while the block runs; afterwards no task and no write of theirs is left.

    A bug in the daemon's own tasks ends the block, with an ExceptionGroup.
    """
    async with assembly.connections, asyncio.TaskGroup() as tasks:
        timeline = tasks.create_task(assembly.schedule.run())
        record = tasks.create_task(assembly.login_limiter.write_ahead.run())
        apps = tasks.create_task(assembly.supervisor.run())
        try:
            yield
        finally:
            apps.cancel()
            await asyncio.wait({apps})
            if end_sessions():
                await _bounded(assembly.supervisor.end_sessions(), ENDING_TIMEOUT)
            record.cancel()
            await _bounded(assembly.login_limiter.write_ahead.close(), DRAIN_TIMEOUT)
            await _bounded(assembly.executor.drained(), DRAIN_TIMEOUT)
            timeline.cancel()


async def _bounded(work: Coroutine[None, None, None], seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(work, seconds)
