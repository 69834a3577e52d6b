"""What the engine's parts work with: ports that all apps share, an app's own, and its state."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from refresherd.domain.events import Event
from refresherd.domain.model import App, Instant
from refresherd.domain.session_state import SessionState
from refresherd.engine.login_limiter import LoginLimiter
from refresherd.engine.ports import (
    Clock,
    CredentialSource,
    Hook,
    Observer,
    Output,
    Schedule,
    SessionClient,
    SessionStore,
)
from refresherd.engine.state_cell import StateCell


@dataclass(frozen=True, slots=True)
class Context:
    """The ports that all apps share."""

    clock: Clock
    schedule: Schedule
    observer: Observer
    rng: Callable[[], float]
    """Returns a random number in [0, 1). Spreading load needs no secrecy."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """The ports of one app. Those of one endpoint share their semaphores."""

    client: SessionClient
    credential: CredentialSource
    attempts: asyncio.Semaphore
    """Admits `max_in_flight` attempts at once."""

    endings: asyncio.Semaphore
    """Admits a few terminations at once. They never delay attempts."""

    outputs: tuple[Output, ...] = ()
    hooks: tuple[Hook, ...] = ()
    session_store: SessionStore | None = None
    """None if the app's sessions do not outlive the process."""

    login_limiter: LoginLimiter | None = None
    """None if DSM does not count the app's failed logins."""

    credential_poll: float = 2.0
    """Seconds between two looks at the source of a refused credential."""


@dataclass(frozen=True, slots=True)
class RunningApp:
    """What the parts of one running app share."""

    settings: App
    ports: AppContext
    cell: StateCell
    context: Context

    @property
    def name(self) -> str:
        """The app's name."""
        return self.settings.name

    @property
    def session(self) -> SessionState:
        """The newest session state."""
        return self.cell.session

    def publish(self, session: SessionState) -> None:
        """Replace the session state and wake everyone who waits for a change."""
        self.cell.publish(session)

    def now(self) -> Instant:
        """Return the boot time in seconds."""
        return self.context.clock.now()

    def rand(self) -> float:
        """Return a random number in [0, 1)."""
        return self.context.rng()

    def observe(self, event: Event) -> None:
        """Report what happened to metrics and logs."""
        self.context.observer.observe(event)
