"""This process as a service: what systemd passed to it, and what it reports back."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import NoReturn

from refresherd.adapters.state.fd_sessions import FdSessions, is_session
from refresherd.adapters.systemd import activation, watchdog
from refresherd.adapters.systemd.reporter import EXTENSION, Reporter
from refresherd.config import Configuration
from refresherd.daemon.assembly import Assembly, has_session_file
from refresherd.domain.model import App
from refresherd.engine.ports import SessionStore
from refresherd.host import unix_sockets
from refresherd.host.clock import JumpDetector, boot_id
from refresherd.host.service_manager import Manager, Notifier, keep_from_children
from refresherd.host.unix_sockets import Listen


@dataclass(frozen=True, slots=True)
class ServiceManagerResources:
    """What the service manager provides; empty for a daemon that is started by hand."""

    notifier: Notifier
    watchdog: float | None
    """WatchdogSec= in seconds, None if there is no watchdog."""
    api: socket.socket | None
    """The API's listening socket, if the service manager passed one."""
    listen: Listen
    """Opens an app's socket: the one that the service manager passed, or else a new one."""
    session_store: Callable[[App], SessionStore | None]
    """Returns the store in which an app's sessions survive a restart, None if there is none."""
    generations: Mapping[str, int]
    """The generations of the sessions that survived, by app."""
    warnings: tuple[str, ...]
    """Lines for the operator."""

    @asynccontextmanager
    async def reporting(self, assembly: Assembly, reporter: Reporter) -> AsyncIterator[None]:
        """Report to the service manager, if there is one, while the block runs."""
        work: list[Coroutine[None, None, NoReturn]] = []
        if self.notifier.enabled:
            work.append(reporter.run(assembly.supervisor))
        if self.notifier.enabled and self.watchdog is not None:
            clock, jumps = assembly.context.clock, JumpDetector().jumps
            overdue = assembly.overdue
            work.append(watchdog.ping(self.notifier, self.watchdog, clock, overdue, jumps))
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
        stored = [one for one in manager.passed if is_session(one.name)]
        others = [one for one in manager.passed if not is_session(one.name)]
        apps, state_dir = configuration.apps, configuration.state_dir
        paths = (spec.path for app in apps for spec in app.sockets)
        passed = activation.activated(others, configuration.api.path, paths)
        sessions = FdSessions(notifier, boot_id())
        # The other apps keep their sessions in the state directory.
        keyed = {app.name: app for app in apps if not has_session_file(app, state_dir)}
        warnings = [*passed.warnings, *sessions.adopt(stored, keyed)]
        if manager.watchdog is not None:
            warnings += watchdog.warnings(manager.watchdog, apps)
        yield ServiceManagerResources(
            notifier,
            manager.watchdog,
            passed.api,
            unix_sockets.lending(passed.raw),
            sessions.store if notifier.enabled else lambda _: None,
            sessions.generations,
            tuple(warnings),
        )
