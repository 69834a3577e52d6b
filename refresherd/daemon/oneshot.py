"""Gets each app's token once: what `run` does, until every app is served or refused."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from refresherd.adapters.state import directory
from refresherd.config import Configuration
from refresherd.daemon.assembly import Observers, assemble, keeping, logging_to_stderr
from refresherd.domain import readiness
from refresherd.domain.events import Event
from refresherd.domain.model import Instant
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import State
from refresherd.host import process
from refresherd.host.clock import BootClock
from refresherd.host.service_manager import without_own


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an app: `reasons` why it is not served, none if it is."""

    app: str
    reasons: tuple[str, ...]
    rejected: bool


class Bell:
    """An Observer that wakes whoever waits for something to happen."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def observe(self, _event: Event) -> None:
        """Ring."""
        self._rung.set()

    async def rung(self) -> None:
        """Return once something has happened since the last call."""
        await self._rung.wait()
        self._rung.clear()


async def once(
    configuration: Configuration, environ: Mapping[str, str], timeout: float
) -> tuple[Verdict, ...]:
    """Serve every app once, within `timeout` seconds, and return what became of each.

    No hook is run: what comes after a single shot, its caller knows best. No socket is served:
    it would be gone before anybody came. Raises RefresherdError where a daemon is at work on
    the same state.
    """
    process.keep_memory_private()
    if configuration.state_dir is not None:
        directory.claim(configuration.state_dir)
    clock = BootClock()
    bell = Bell()
    apps = [replace(app, hooks=(), sockets=()) for app in configuration.apps]
    with logging_to_stderr(configuration.log, clock) as logs:
        observer = Observers(logs, bell)
        assembly = assemble(apps, without_own(environ), clock, observer, configuration.state_dir)
        supervisor = assembly.supervisor
        async with keeping(assembly):
            with suppress(TimeoutError):  # the verdicts tell who was too late
                async with asyncio.timeout(timeout):
                    while not _settled(supervisor.statuses(), clock.now()):
                        await bell.rung()
            now = clock.now()
            return tuple(_verdict(status, now) for status in supervisor.statuses())


def _settled(statuses: Iterable[AppStatus], now: Instant) -> bool:
    return all(
        status.session.state is State.REJECTED or readiness.ready(status, now)
        for status in statuses
    )


def _verdict(status: AppStatus, now: Instant) -> Verdict:
    rejected = status.session.state is State.REJECTED
    return Verdict(status.name, readiness.reasons(status, now), rejected)
