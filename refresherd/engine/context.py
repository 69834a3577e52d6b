"""What the engine's parts are given: one Context for all, and an AppContext for each app."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

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
