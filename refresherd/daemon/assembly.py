"""Builds everything that `run` and `once` share: the supervisor, its apps and their adapters."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from refresherd.adapters.credentials import sources
from refresherd.adapters.dsm.client import Connections
from refresherd.adapters.dsm.client_certificates import CertificateWatch
from refresherd.adapters.hooks import hooks
from refresherd.adapters.logs.capture import captured
from refresherd.adapters.logs.observer import Logs
from refresherd.adapters.logs.pipeline import configure
from refresherd.adapters.outputs.files import FileOutput
from refresherd.adapters.outputs.sockets import SocketOutput
from refresherd.adapters.outputs.watch import OutputWatch
from refresherd.adapters.scheduling import BootSchedule
from refresherd.adapters.state.directory import StateDirectory
from refresherd.adapters.state.generation_file import GenerationFile
from refresherd.adapters.state.login_file import LoginFile, UnsavedLogins
from refresherd.adapters.state.session_file import SessionFile
from refresherd.config import LogTable
from refresherd.domain import model
from refresherd.domain.model import App, Endpoint, Instant, Ownership, TokenFile
from refresherd.engine.consumers import Consumers
from refresherd.engine.context import AppContext, Context, Observers
from refresherd.engine.generations import Generations
from refresherd.engine.liveness import Liveness
from refresherd.engine.login_limiter import LoginLimiter
from refresherd.engine.ports import LoginStore, Observer, SessionStore
from refresherd.engine.supervisor import Supervisor
from refresherd.host.admission import Admission
from refresherd.host.atomic_file import FileContext
from refresherd.host.clock import BootClock, JumpDetector, boot_id
from refresherd.host.directories import StaleTempFiles, opened_directory
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.path_identity import Claims
from refresherd.host.unix_sockets import BoundSocket, Listen, bind
from refresherd.host.user_names import UserNames

END_SESSIONS_TIMEOUT = 2.0
"""Seconds for terminating sessions during a stop; those that are left then idle out."""

DRAIN_TIMEOUT = 0.5
"""Seconds that a stop waits for writes in progress."""

RECORD_PATIENCE = 2.0
"""Seconds that attempts wait for the records of logins and generations if their disk hangs."""

MAX_CONCURRENT_COMMANDS = 32
"""Limits the processes that hooks start when ten thousand apps are refreshed at once."""

COUNTED = (
    model.ApiKeyFile,
    model.SystemdCredential,
    model.ApiKeyEnv,
    model.ApiKeyCommand,
    model.LdapApp,
)
"""The credentials whose failed logins DSM, or the LDAP server behind it, counts."""


class Assembly:
    """Everything that refreshes apps, built but not yet running.

    Apps share the connections, the executor and the login limiter; apps of one endpoint share its
    limits on requests in flight. `listen` returns what opens an app's sockets. `session_store`
    returns the store in which an app's sessions survive a restart if they are not in `state`, None
    if there is none. `generations` are those of sessions that survived, by app. The caller
    configures `claims`.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # everything comes together here
        self,
        apps: Iterable[App],
        environ: Mapping[str, str],
        clock: BootClock,
        observer: Observer,
        state: StateDirectory | None = None,
        listen: Callable[[str], Listen] = lambda _: bind,
        session_store: Callable[[App], SessionStore | None] = lambda _: None,
        generations: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.executor = KeyedExecutor()
        self.admission = Admission(observer)
        self.liveness = Liveness(clock, self._overdue)
        heard = Observers(observer, self.liveness)
        self.schedule = BootSchedule(clock, heard, JumpDetector().jumps)
        self.connections = Connections(self.executor, clock)
        self._environ = environ
        self._state = state
        self.claims = Claims(lambda: None if state is None else state.inode)
        stale_files = StaleTempFiles()
        self._files = FileContext(clock, self.executor, stale_files, self.claims.claim)
        self._state_files = replace(self._files, claim=None if state is None else state.claim)
        self._listen = listen
        self._passed_store = session_store
        self._commands = asyncio.Semaphore(MAX_CONCURRENT_COMMANDS)
        self._limits: dict[tuple[str, int], tuple[asyncio.Semaphore, asyncio.Semaphore]] = {}
        records = replace(self._state_files, patience=RECORD_PATIENCE)
        numbers = None
        if state is not None:
            numbers = GenerationFile(model.generation_file(state.path), observer, records)
        # Random numbers here only spread load, so they need not be unpredictable.
        self.context = Context(
            clock,
            self.schedule,
            observer,
            random.random,
            Generations(numbers, generations),
            Consumers(UserNames(self.executor)),
        )
        apps = tuple(apps)
        self.certificates = CertificateWatch(apps, self.context, self.executor)
        store: LoginStore = UnsavedLogins()
        if state is not None:
            store = LoginFile(model.login_file(state.path), boot_id(), self.context, records)
        self.login_limiter = LoginLimiter(store, clock, self.schedule, observer)
        self.supervisor = Supervisor(apps, self._app_context, self.context)
        self.watch = OutputWatch(self.supervisor, self.executor)

    def _overdue(self, now: Instant) -> float:
        """Return for how many seconds the oldest due work has waited to be started."""
        return max(self.schedule.overdue(now), self.supervisor.overdue(now))

    def _app_context(self, app: App) -> AppContext:
        executor, context = self.executor, self.context
        files = [FileOutput(app, spec, self._files) for spec in app.files]
        sockets = [
            SocketOutput(
                app, spec, context, executor, self.admission, listen=self._listen_claimed(app)
            )
            for spec in app.sockets
        ]
        attempts, endings = self._request_limits(app.endpoint)
        return AppContext(
            client=self.connections.client(app),
            credential=sources.source(app, self._environ, executor),
            attempts=attempts,
            endings=endings,
            outputs=(*files, *sockets),
            hooks=hooks(app, self._environ, executor, self._commands),
            session_store=self._session_store(app),
            login_limiter=self.login_limiter if isinstance(app.credential, COUNTED) else None,
        )

    def _listen_claimed(self, app: App) -> Listen:
        """Return what opens an app's sockets, unless a path is another output's by now."""
        open_socket, claim = self._listen(app.name), self.claims.claim

        def listen(path: Path, ownership: Ownership) -> BoundSocket:
            with suppress(OSError), opened_directory(str(path.parent)) as directory:
                claim(directory, str(path), path.name)
            return open_socket(path, ownership)

        return listen

    def _session_store(self, app: App) -> SessionStore | None:
        state = self._state
        if state is not None and has_session_file(app, state.path):
            path = model.session_file(state.path, app.name)
            return SessionFile(app, path, self.context, self._state_files)
        return self._passed_store(app)

    def _request_limits(self, endpoint: Endpoint) -> tuple[asyncio.Semaphore, asyncio.Semaphore]:
        key = endpoint.url, endpoint.max_in_flight
        if key not in self._limits:
            # Terminating sessions is less urgent, so it gets a quarter.
            endings = asyncio.Semaphore(max(1, endpoint.max_in_flight // 4))
            self._limits[key] = asyncio.Semaphore(endpoint.max_in_flight), endings
        return self._limits[key]


def has_session_file(app: App, state_dir: Path | None) -> bool:
    """Return whether an app has no key, and so keeps its newest session in the state directory."""
    return state_dir is not None and isinstance(app.credential, TokenFile)


@contextmanager
def logging_to_stderr(log: LogTable, clock: BootClock) -> Iterator[Logs]:
    """Log events, library warnings and event loop errors to stderr while the block runs."""
    logs = configure(log.level, log.format, sys.stderr, clock)
    with captured(logs):
        asyncio.get_running_loop().set_exception_handler(logs.loop_failed)
        try:
            yield logs
        finally:
            logs.close()


@asynccontextmanager
async def running(
    assembly: Assembly, end_sessions: Callable[[], bool] = lambda: False
) -> AsyncIterator[None]:
    """Refresh the apps while the block runs; afterwards none of their tasks or writes is left.

    Sessions are terminated afterwards if `end_sessions` says so. A bug in the daemon's own tasks
    ends the block with an ExceptionGroup.
    """
    async with assembly.connections, asyncio.TaskGroup() as tasks:
        schedule = tasks.create_task(assembly.schedule.run())
        login_records = tasks.create_task(assembly.login_limiter.write_ahead.run())
        certificates = tasks.create_task(assembly.certificates.run())
        apps = tasks.create_task(assembly.supervisor.run())
        watch = tasks.create_task(assembly.watch.run())
        try:
            yield
        finally:
            certificates.cancel()
            watch.cancel()
            apps.cancel()
            await asyncio.wait({apps})
            if end_sessions():
                await _bounded(assembly.supervisor.end_sessions(), END_SESSIONS_TIMEOUT)
            login_records.cancel()
            await _bounded(assembly.login_limiter.write_ahead.close(), DRAIN_TIMEOUT)
            await _bounded(assembly.context.generations.close(), DRAIN_TIMEOUT)
            await _bounded(assembly.executor.drained(), DRAIN_TIMEOUT)
            schedule.cancel()


async def _bounded(work: Coroutine[None, None, None], seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(work, seconds)
