"""This process as a service: what systemd passed to it, and what it reports back."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import NoReturn

from refresherd.adapters.state.fd_sessions import FdSessions, is_session
from refresherd.adapters.systemd import activation, watchdog
from refresherd.adapters.systemd.reporter import EXTENSION, Reporter
from refresherd.config import Configuration
from refresherd.daemon.assembly import Assembly, ServiceManagerResources, chained
from refresherd.host import unix_sockets
from refresherd.host.clock import JumpDetector, boot_id
from refresherd.host.service_manager import Manager, Notifier, keep_from_children


@dataclass(frozen=True, slots=True)
class Service:
    """What the service manager provides; for a daemon started by hand there is nothing."""

    notifier: Notifier
    watchdog: float | None
    """WatchdogSec= in seconds, None if there is no watchdog."""
    api: socket.socket | None
    """The API's listening socket, if the service manager passed one."""
    resources: ServiceManagerResources
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
            pings = watchdog.Watchdog(self.notifier, self.watchdog, clock, assembly.overdue, jumps)
            work.append(pings.run())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()


@contextmanager
def as_service(configuration: Configuration, environ: Mapping[str, str]) -> Iterator[Service]:
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
        keyed = {app.name: app for app in apps if not chained(app, state_dir)}
        warnings = [*passed.warnings, *sessions.adopt(stored, keyed)]
        if manager.watchdog is not None:
            warnings += watchdog.warnings(manager.watchdog, apps)
        resources = ServiceManagerResources(unix_sockets.lending(passed.raw))
        if notifier.enabled:
            resources = replace(resources, session_store=sessions.store)
        yield Service(notifier, manager.watchdog, passed.api, resources, tuple(warnings))
