"""Gets each app's token once: like `run`, but only until every app is served or refused."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from refresherd.adapters.state.directory import StateDirectory
from refresherd.config import Configuration
from refresherd.daemon.assembly import Assembly, logging_to_stderr, running
from refresherd.domain import readiness
from refresherd.domain.events import Event
from refresherd.domain.session_state import State
from refresherd.engine.context import Observers
from refresherd.host import process
from refresherd.host.clock import BootClock
from refresherd.host.service_manager import without_own


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one app."""

    app: str
    reasons: tuple[str, ...]
    """Why the app is not served; empty if it is."""
    rejected: bool
    """Whether DSM refused the credential."""


class EventSignal(asyncio.Event):
    """An Observer that each event sets."""

    def observe(self, _event: Event) -> None:
        """Set it, whatever the event is."""
        self.set()


async def once(
    configuration: Configuration, environ: Mapping[str, str], timeout: float
) -> tuple[Verdict, ...]:
    """Get every app's token once, within `timeout` seconds, and return the outcomes.

    Hooks do not run: the caller decides what follows. Sockets are not served, as they would be gone
    before a client connects. Raises RefresherdError if a daemon already uses the same state.
    """
    process.keep_memory_private()
    path = configuration.state_dir
    state = None if path is None else StateDirectory(path)
    clock = BootClock()
    events = EventSignal()
    apps = [replace(app, hooks=(), sockets=()) for app in configuration.apps]
    with logging_to_stderr(configuration.log, clock) as logs:
        observer = Observers(logs, events)
        assembly = Assembly(apps, without_own(environ), clock, observer, state)
        assembly.claims.configure(configuration.output_paths, configuration.read)

        def verdicts() -> Iterator[Verdict]:
            for status in assembly.supervisor.statuses():
                reasons = readiness.undelivered(status, clock.now())
                yield Verdict(status.name, reasons, status.session.state is State.REJECTED)

        async with running(assembly):
            with suppress(TimeoutError):  # the verdicts name the apps that were too slow
                async with asyncio.timeout(timeout):
                    while not all(one.rejected or not one.reasons for one in verdicts()):
                        await events.wait()
                        events.clear()
            return tuple(verdicts())
