"""This process as a service: what systemd passed to it, and what it reports back."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from refresherd.adapters import systemd
from refresherd.adapters.state.fd_sessions import FdSessions, is_session
from refresherd.adapters.systemd import Reporter, Watchdog
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
        async with asyncio.TaskGroup() as group:
            tasks = []
            if self.notifier.enabled:
                tasks.append(group.create_task(reporter.run(assembly.supervisor)))
            if self.notifier.enabled and self.watchdog is not None:
                clock, jumps = assembly.context.clock, JumpDetector().jumps
                watchdog = Watchdog(self.notifier, self.watchdog, clock, assembly.overdue, jumps)
                tasks.append(group.create_task(watchdog.run()))
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
    # Assembling ten thousand apps takes time, and the service manager may be about to give up.
    notifier.send(systemd.EXTENSION)
    try:
        yield _take_over(manager, notifier, configuration)
    finally:
        notifier.close()


def _take_over(manager: Manager, notifier: Notifier, configuration: Configuration) -> Service:
    """Assign each passed descriptor to its purpose, and close those without one."""
    keep_from_children(manager.passed)
    stored = [one for one in manager.passed if is_session(one.name)]
    others = [one for one in manager.passed if not is_session(one.name)]
    paths = (spec.path for app in configuration.apps for spec in app.sockets)
    activated = systemd.activated(others, configuration.api.path, paths)
    sessions = FdSessions(notifier, boot_id())
    # The others keep their sessions in the state directory.
    keyed = {
        app.name: app for app in configuration.apps if not chained(app, configuration.state_dir)
    }
    warnings = [*activated.warnings, *sessions.adopt(stored, keyed)]
    if manager.watchdog is not None:
        warnings += systemd.warnings(manager.watchdog, configuration.apps)
    listen = unix_sockets.lending(activated.raw)
    resources = (
        ServiceManagerResources(listen, sessions.store)
        if notifier.enabled
        else ServiceManagerResources(listen)
    )
    return Service(notifier, manager.watchdog, activated.api, resources, tuple(warnings))
