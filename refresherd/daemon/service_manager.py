"""This process as a service: what systemd passed to it, and what it reports back."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from refresherd.adapters.state.fd_sessions import FdSessions, is_session
from refresherd.adapters.systemd import activation, watchdog
from refresherd.adapters.systemd.fd_sockets import FdSockets, is_socket
from refresherd.adapters.systemd.reporter import EXTENSION, Reporter
from refresherd.config import Configuration
from refresherd.daemon.assembly import Assembly, has_session_file
from refresherd.domain.model import App
from refresherd.engine.ports import SessionStore
from refresherd.host.acceptor import turn_away
from refresherd.host.clock import boot_id
from refresherd.host.keyed_executor import PATIENCE_SECONDS
from refresherd.host.service_manager import Manager, Notifier, keep_from_children


@dataclass(frozen=True, slots=True)
class ServiceManagerResources:
    """What the service manager provides; empty for a daemon that is started by hand."""

    notifier: Notifier
    watchdog: float | None
    """WatchdogSec= in seconds, None if there is no watchdog."""
    api: socket.socket | None
    """The API's listening socket, if the service manager passed one."""
    sockets: FdSockets
    """Opens the sockets of the API and of the apps."""
    unwanted: tuple[socket.socket, ...]
    """Passed sockets without a purpose, whose clients are turned away."""
    session_store: Callable[[App], SessionStore | None]
    """Returns the store in which an app's sessions survive a restart, None if there is none."""
    generations: Mapping[str, int]
    """The generations of the sessions that survived, by app."""
    warnings: tuple[str, ...]
    """Lines for the operator."""

    async def drop_unconfigured(self, configuration: Configuration, assembly: Assembly) -> None:
        """Close stored sockets whose paths are not configured any more."""
        paths = [spec.path for app in configuration.apps for spec in app.sockets]
        if configuration.api.path is not None:
            paths.append(configuration.api.path)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.sockets.drop_unconfigured(paths, assembly.executor)

    @asynccontextmanager
    async def reporting(self, assembly: Assembly, reporter: Reporter) -> AsyncIterator[None]:
        """Report to the service manager, if there is one, while the block runs."""
        work: list[Coroutine[None, None, NoReturn]] = []
        if self.notifier.enabled:
            work.append(reporter.run(assembly.supervisor))
        if self.notifier.enabled and self.watchdog is not None:
            work.append(watchdog.ping(self.notifier, self.watchdog, assembly.liveness.fault))
        for listening in self.unwanted:
            turn_away(listening)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()


@contextmanager
def as_service(
    configuration: Configuration, environ: Mapping[str, str]
) -> Iterator[ServiceManagerResources]:
    """Yield what the service manager passed to this process.

    Call it before anything else opens a file: passed descriptors are known by their numbers.
    """
    manager = Manager.of(environ, os.getpid())
    notifier = Notifier(manager.notify_socket)
    with closing(notifier):
        # Assembling ten thousand apps takes time, and the service manager may be about to give up.
        notifier.send(EXTENSION)
        keep_from_children(manager.passed)
        sessions_passed = [one for one in manager.passed if is_session(one.name)]
        sockets_passed = [one for one in manager.passed if is_socket(one.name)]
        stored = (*sessions_passed, *sockets_passed)
        others = [one for one in manager.passed if one not in stored]
        apps, state_dir = configuration.apps, configuration.state_dir
        paths = (spec.path for app in apps for spec in app.sockets)
        passed = activation.activated(others, configuration.api.path, paths)
        sessions = FdSessions(notifier, boot_id())
        # The other apps keep their sessions in the state directory.
        keyed = {app.name: app for app in apps if not has_session_file(app, state_dir)}
        warnings = [*passed.warnings, *sessions.adopt(sessions_passed, keyed)]
        if manager.watchdog is not None:
            warnings += watchdog.warnings(manager.watchdog, apps)
        yield ServiceManagerResources(
            notifier,
            manager.watchdog,
            passed.api,
            FdSockets(notifier, passed.raw, sockets_passed),
            passed.unwanted,
            sessions.store if notifier.enabled else lambda _: None,
            sessions.generations,
            tuple(warnings),
        )
