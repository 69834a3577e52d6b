"""What the emulated DSM remembers: its apps with their credentials and counts, and its sessions."""

import base64
import hmac
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Literal

Expiry = Literal["idle", "absolute"]
"""Whether a session's lifetime counts from its last use or from its opening."""

FIPS_FAILURES: Final = 100
FIPS_WINDOW: Final = 24 * 3600.0
"""DSM resets an app's secret after this many failed logins by API key within this many seconds."""


@dataclass(slots=True)
class Counts:
    """Operations carried out for an app since the start, without those that a fault replaced."""

    logins: int = 0
    failed_logins: int = 0
    reauths: int = 0
    refreshes: int = 0
    terminates: int = 0
    key_listings: int = 0
    secret_resets: int = 0


@dataclass(slots=True, eq=False)
class App:
    """An app of the emulated DSM."""

    id: str
    name: str
    secret: str | None
    """None for an app that logs in with a TLS client certificate."""
    lifetime: float
    """Seconds that its sessions live; a change applies to sessions opened later."""
    generation: int = 0
    """Sessions opened in an earlier generation have ended."""
    counts: Counts = field(default_factory=Counts)
    failures: deque[float] = field(default_factory=deque)
    """When logins by API key failed, in seconds on the emulator's clock."""

    @property
    def api_key(self) -> str:
        """The current API key, base64 of `<id>:<secret>`; a certificate app's has no secret."""
        return base64.b64encode(f"{self.id}:{self.secret or ''}".encode()).decode()

    def recent_failures(self, now: float) -> int:
        """How many logins by API key failed in the 24 hours up to `now`, since the last reset."""
        while self.failures and self.failures[0] <= now - FIPS_WINDOW:
            self.failures.popleft()
        return len(self.failures)


class Apps:
    """The apps, in the order in which they were added; `apps[0]` is the first.

    `lifetime`, in seconds, applies to apps that are added without one. With `fips` the hundredth
    failed login in 24 hours resets an app's secret, as DSM does in FIPS mode.
    """

    def __init__(
        self, *, lifetime: float, random_bytes: Callable[[int], bytes], fips: bool = True
    ) -> None:
        self._apps: dict[str, App] = {}
        self._lifetime = lifetime
        self._random_bytes = random_bytes
        self._fips = fips

    def __iter__(self) -> Iterator[App]:
        return iter(tuple(self._apps.values()))

    def __len__(self) -> int:
        return len(self._apps)

    def __getitem__(self, index: int) -> App:
        return tuple(self._apps.values())[index]

    def add(
        self,
        name: str = "",
        *,
        api_key: str = "",
        certificate: bool = False,
        lifetime: float | None = None,
    ) -> App:
        """Add an app with this API key, or a random one, or one that logs in with a certificate.

        Raises ValueError for an API key that is malformed or whose UUID is taken.
        """
        if api_key and certificate:
            raise ValueError("an app has an API key or a certificate, not both")
        if api_key:
            app_id, secret = split_api_key(api_key)
        else:
            app_id = str(uuid.UUID(bytes=self._random_bytes(16), version=4))
            secret = _random_text(self._random_bytes)
        if not app_id or not secret or app_id in self._apps:
            raise ValueError("an API key is base64 of <app uuid>:<secret>, each app uuid once")
        app = self._apps[app_id] = App(
            id=app_id,
            name=name or f"app-{len(self) + 1}",
            secret=None if certificate else secret,
            lifetime=self._lifetime if lifetime is None else lifetime,
        )
        return app

    def find(self, app: str) -> App:
        """Return the app with this UUID or name. Raises KeyError for an unknown one."""
        for candidate in self:
            if app in (candidate.id, candidate.name):
                return candidate
        raise KeyError(app)

    def named_by(self, credential: str) -> App | None:
        """Return the app that a Basic credential names, whether or not its secret is right."""
        return self._apps.get(split_api_key(credential)[0])

    def log_in(self, credential: str, certificate_name: str | None, now: float) -> App | None:
        """Return the app that a Basic credential logs in, None if it is refused; count either.

        `certificate_name` is the common name of the TLS client certificate. A successful login
        does not reset the count of failed ones: DSM's documents do not say that it does.
        """
        app_id, secret = split_api_key(credential)
        app = self._apps.get(app_id)
        if app is None:
            return None
        if app.secret is None:
            accepted = not secret and certificate_name == app.id
        else:
            accepted = hmac.compare_digest(secret.encode(), app.secret.encode())
        if accepted:
            app.counts.logins += 1
            return app
        app.counts.failed_logins += 1
        if app.secret is not None:
            app.failures.append(now)
            if app.recent_failures(now) >= FIPS_FAILURES and self._fips:
                self.reset_secret(app)
        return None

    def reset_secret(self, app: App) -> None:
        """Give the app a new secret; the old key never works again and all its sessions end."""
        if app.secret is not None:
            app.secret = _random_text(self._random_bytes)
        app.generation += 1
        app.failures.clear()
        app.counts.secret_resets += 1


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

    def open(self, app: App) -> Session:
        """Open a session for the app, with a new token."""
        now, opened = self._now(), self._open[app]
        # The ended sessions at the front go, so that listing the live ones stays fast.
        for ended in list(takewhile(lambda session: not session.alive(now), opened.values())):
            del opened[ended.token]
        token = _random_text(self._random_bytes)
        session = Session(token, app, app.lifetime, now + app.lifetime, app.generation)
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


def split_api_key(credential: str) -> tuple[str, str]:
    """Return the app's UUID, in lower case, and the secret; ("", "") if it is unreadable."""
    try:
        name, colon, secret = base64.b64decode(credential, validate=True).decode().partition(":")
        return (str(uuid.UUID(name)), secret) if colon else ("", "")
    except ValueError:
        return "", ""


def _random_text(random_bytes: Callable[[int], bytes]) -> str:
    """Return 86 characters of base64url, as DSM's tokens are."""
    return base64.urlsafe_b64encode(random_bytes(64)).decode().rstrip("=")
