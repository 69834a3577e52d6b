"""The emulated DSM's sessions."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from refresherd.emulator.apps import App, random_text

Expiry = Literal["idle", "absolute"]
"""Whether a session's lifetime counts from its last use or from its opening."""


@dataclass(slots=True, eq=False)
class Session:
    """A session of an app."""

    token: str
    app: App
    lifetime: float
    deadline: float
    """When it ends or has ended, in seconds on the emulator's clock."""
    generation: int
    """The app's generation at its opening."""
    bound_to: App | None = None
    """Another app whose consumers may use the session: DSM checks their credential against it."""

    @property
    def user(self) -> App:
        """The app whose consumers may use the session."""
        return self.bound_to or self.app

    def alive(self, now: float) -> bool:
        """Whether requests with this token are still answered at `now`."""
        return now < self.deadline and self.generation == self.app.generation


class Sessions:
    """Every session ever opened, by token, including those that have ended."""

    def __init__(
        self, *, expiry: Expiry, now: Callable[[], float], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._expiry = expiry
        self._now = now
        self._random_bytes = random_bytes
        self._issued: dict[str, Session] = {}
        self._open: defaultdict[App, dict[str, Session]] = defaultdict(dict)

    def open(self, app: App, bound_to: App | None = None) -> Session:
        """Open a session for the app, with a new token."""
        now, opened = self._now(), self._open[app]
        # The ended sessions at the front go, so that listing the live ones stays fast.
        for ended in list(takewhile(lambda session: not session.alive(now), opened.values())):
            del opened[ended.token]
        token = random_text(self._random_bytes)
        session = Session(token, app, app.lifetime, now + app.lifetime, app.generation, bound_to)
        self._issued[token] = opened[token] = session
        return session

    def use(self, token: str) -> Session | None:
        """Return the live session with this token and restart its idle time; None if it ended."""
        now = self._now()
        session = self._issued.get(token)
        if session is None or not session.alive(now):
            return None
        if self._expiry == "idle":
            session.deadline = now + session.lifetime
            # The least recently used come first, which is where pruning starts.
            self._open[session.app][token] = self._open[session.app].pop(token)
        return session

    def end(self, token: str) -> bool:
        """End the session with this token at once; False if it had already ended."""
        session = self.use(token)
        if session is None:
            return False
        session.deadline = self._now()
        del self._open[session.app][token]
        return True

    def end_all(self, app: App | None = None) -> int:
        """End every session, or every session of an app, and return how many ended."""
        return sum(self.end(session.token) for session in self.live(app))

    def live(self, app: App | None = None) -> list[Session]:
        """Return the live sessions, or those of an app, the least recently used first."""
        now = self._now()
        owners = list(self._open) if app is None else [app]
        return [s for owner in owners for s in self._open[owner].values() if s.alive(now)]

    def tokens(self, app: App | None = None) -> list[str]:
        """Return every token ever issued, or those of an app, in order and in full."""
        return [token for token, s in self._issued.items() if app in (None, s.app)]

    def issued(self, token: str) -> Session | None:
        """Return the session for which this token was issued, whether or not it has ended."""
        return self._issued.get(token)
