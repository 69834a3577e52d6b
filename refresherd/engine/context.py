"""What the engine's parts work with: ports that all apps share, an app's own, and its state."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from refresherd.domain.events import Event
from refresherd.domain.model import App, Instant
from refresherd.domain.session_state import ALWAYS, SessionState
from refresherd.engine import ports
from refresherd.engine.consumers import Consumers
from refresherd.engine.generations import Generations
from refresherd.engine.login_limiter import LoginLimiter


class Observers:
    """Passes each event on to several observers, in order."""

    def __init__(self, *observers: ports.Observer) -> None:
        self._observers = observers

    def observe(self, event: Event) -> None:
        """Pass an event on to every observer."""
        for observer in self._observers:
            observer.observe(event)


@dataclass(frozen=True, slots=True)
class Context:
    """The ports that all apps share."""

    clock: ports.Clock
    schedule: ports.Schedule
    observer: ports.Observer
    rng: Callable[[], float]
    """Returns a random number in [0, 1). Spreading load needs no secrecy."""

    generations: Generations = field(default_factory=Generations)
    consumers: Consumers = field(default_factory=Consumers)


@dataclass(frozen=True, slots=True)
class AppContext:
    """The ports of one app. Those of one endpoint share their semaphores."""

    client: ports.SessionClient
    credential: ports.CredentialSource
    attempts: asyncio.Semaphore
    """Admits `max_in_flight` attempts at once."""

    endings: asyncio.Semaphore
    """Admits a few terminations at once. They never delay attempts."""

    outputs: tuple[ports.WatchedOutput, ...] = ()
    hooks: tuple[ports.Hook, ...] = ()
    session_store: ports.SessionStore | None = None
    """None if the app's sessions do not outlive the process."""

    login_limiter: LoginLimiter | None = None
    """None if DSM does not count the app's failed logins."""

    credential_poll: float = 2.0
    """The longest pause between two looks at the source of a credential that does not work."""


class StateCell:
    """Holds one app's newest session state. Only the app's own tasks publish; anyone may read."""

    __slots__ = ("_watchers", "closed", "session", "token_since", "version")

    def __init__(self, session: SessionState) -> None:
        self.session = session
        """The newest state; to be replaced by `publish` only."""
        self.version = 1
        """Grows with each new state."""
        self.token_since = ALWAYS
        """When the newest state's token, or its longer life, became known."""
        self.closed = False
        """Whether the app has been removed, so that its state does not change any more."""
        # A dictionary: it keeps the order in which they are woken, and removal is cheap.
        self._watchers: dict[asyncio.Future[None], None] = {}

    def publish(self, session: SessionState) -> None:
        """Replace the state and wake everyone who waits for a change."""
        self.session = session
        self.version += 1
        self._wake()

    def close(self) -> None:
        """Wake everyone who waits: nothing will change any more."""
        self.closed = True
        self._wake()

    async def changed(self, since: int) -> int:
        """Return the newest version as soon as it is past `since`, or the cell is closed."""
        while self.version <= since and not self.closed:
            watcher = asyncio.get_running_loop().create_future()
            self._watchers[watcher] = None
            try:
                await watcher
            finally:
                self._watchers.pop(watcher, None)
        return self.version

    def _wake(self) -> None:
        watchers, self._watchers = self._watchers, {}
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)


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
        if session.token != self.session.token:
            # Before the state: readers in threads must not take a new token for an old one.
            self.cell.token_since = self.now()
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
