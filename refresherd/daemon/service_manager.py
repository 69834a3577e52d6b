"""This process as a unit of the service manager's: what it was given, and what it tells."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from refresherd.adapters import systemd
from refresherd.adapters.state.fd_names import is_session
from refresherd.adapters.state.fd_store import FdStore, StoredSessions
from refresherd.adapters.systemd import Reporter, Watchdog
from refresherd.config import Configuration
from refresherd.daemon.assembly import Assembly, ServiceManagerResources, chained
from refresherd.host import unix_sockets
from refresherd.host.clock import JumpDetector, boot_id
from refresherd.host.sd_notify import Notifier
from refresherd.host.service_manager import Manager, keep_from_children


@dataclass(frozen=True, slots=True)
class Unit:
    """What the service manager gave; a daemon that was started by hand has nothing of it.

    `cautions` are lines for its operator.
    """

    notifier: Notifier
    watchdog: float | None
    api: socket.socket | None
    given: ServiceManagerResources
    warnings: tuple[str, ...]

    @asynccontextmanager
    async def telling(self, assembly: Assembly, reporter: Reporter) -> AsyncIterator[None]:
        """Tell the service manager how it goes while the block runs, if there is one."""
        async with asyncio.TaskGroup() as group:
            tasks = []
            if self.notifier.heard:
                tasks.append(group.create_task(reporter.run(assembly.supervisor)))
            if self.notifier.heard and self.watchdog is not None:
                clock, jumps = assembly.context.clock, JumpDetector().jumps
                watchdog = Watchdog(self.notifier, self.watchdog, clock, assembly.overdue, jumps)
                tasks.append(group.create_task(watchdog.run()))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()


@contextmanager
def unit(configuration: Configuration, environ: Mapping[str, str]) -> Iterator[Unit]:
    """Yield what the service manager gave this process.

    To be called before it opens anything itself, for what was passed is known by number.
    """
    manager = Manager.of(environ, os.getpid())
    notifier = Notifier(manager.notify_socket)
    # Before ten thousand apps are put together: the manager may be about to give up.
    notifier.send(systemd.EXTENSION)
    try:
        yield _sorted(manager, notifier, configuration)
    finally:
        notifier.close()


def _sorted(manager: Manager, notifier: Notifier, configuration: Configuration) -> Unit:
    """Return each thing by its purpose, and let go of what has none."""
    keep_from_children(manager.passed)
    stored = [one for one in manager.passed if is_session(one.name)]
    others = [one for one in manager.passed if not is_session(one.name)]
    activated = systemd.activated(others, configuration.api.path, _raw_paths(configuration))
    store = FdStore(notifier, boot_id())
    # An app with a chain keeps its session in the state directory.
    keyed = {
        app.name: app for app in configuration.apps if not chained(app, configuration.state_dir)
    }
    warnings = [*activated.warnings, *store.adopt(stored, keyed)]
    if manager.watchdog is not None:
        warnings += systemd.warnings(manager.watchdog, configuration.apps)
    listen = unix_sockets.lending(activated.raw)
    given = (
        ServiceManagerResources(listen, partial(StoredSessions, store))
        if notifier.heard
        else ServiceManagerResources(listen)
    )
    return Unit(notifier, manager.watchdog, activated.api, given, tuple(warnings))


def _raw_paths(configuration: Configuration) -> Iterator[Path]:
    return (spec.path for app in configuration.apps for spec in app.sockets)
