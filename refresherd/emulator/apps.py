"""The apps of the emulated DSM, their API keys and what they have done."""

import base64
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

FIPS_WINDOW: Final = 24 * 3600.0
"""Seconds over which failed logins by API key are counted."""


@dataclass(slots=True)
class Counts:
    """What was carried out for an app since the start; requests that a fault ate don't count."""

    logins: int = 0
    failed_logins: int = 0
    reauths: int = 0
    refreshes: int = 0
    terminates: int = 0
    key_listings: int = 0
    secret_resets: int = 0


@dataclass(slots=True, eq=False)
class App:
    """An app; `secret` is None for one that logs in with a TLS client certificate.

    `lifetime` is in seconds and holds for sessions opened from now on. A session ends when
    `generation` moves past the one it was opened in.
    """

    id: str
    name: str
    secret: str | None
    lifetime: float
    generation: int = 0
    counts: Counts = field(default_factory=Counts)
    failures: deque[float] = field(default_factory=deque)

    @property
    def api_key(self) -> str:
        """The current API key, base64 of `<id>:<secret>`; no secret for a certificate app."""
        return base64.b64encode(f"{self.id}:{self.secret or ''}".encode()).decode()

    def recent_failures(self, now: float) -> int:
        """How many logins by API key failed in the 24 hours up to `now`, since the last reset."""
        while self.failures and self.failures[0] <= now - FIPS_WINDOW:
            self.failures.popleft()
        return len(self.failures)


class Apps:
    """The apps in the order they were added; `apps[0]` is the first.

    `lifetime` in seconds is that of apps added without one of their own.
    """

    def __init__(self, *, lifetime: float, random_bytes: Callable[[int], bytes]) -> None:
        self._apps: dict[str, App] = {}
        self._lifetime = lifetime
        self._random_bytes = random_bytes

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
        """Add an app with the given API key, else a made-up one, or one that has a certificate.

        Raises ValueError for an API key that is not base64 of `<uuid>:<secret>` or already there.
        """
        if api_key and certificate:
            raise ValueError("an app has an API key or a certificate, not both")
        app_id, secret = split_api_key(api_key or _new_api_key(self._random_bytes))
        if not app_id or not secret or app_id in self._apps:
            raise ValueError("an API key is base64 of <app uuid>:<secret>, each app uuid once")
        app = self._apps[app_id] = App(
            id=app_id,
            name=name or f"app-{len(self) + 1}",
            secret=None if certificate else secret,
            lifetime=self._lifetime if lifetime is None else lifetime,
        )
        return app

    def get(self, app_id: str) -> App | None:
        """Return the app with this UUID, None if there is none."""
        return self._apps.get(app_id)

    def find(self, app: str) -> App:
        """Return the app with this UUID or name; KeyError if there is none."""
        for candidate in self:
            if app in (candidate.id, candidate.name):
                return candidate
        raise KeyError(app)

    def reset_secret(self, app: App) -> None:
        """Give the app a new secret; the old key never works again and all its sessions end."""
        if app.secret is not None:
            app.secret = split_api_key(_new_api_key(self._random_bytes))[1]
        app.generation += 1
        app.failures.clear()
        app.counts.secret_resets += 1


def _new_api_key(random_bytes: Callable[[int], bytes]) -> str:
    app_id = uuid.UUID(bytes=random_bytes(16), version=4)
    secret = base64.urlsafe_b64encode(random_bytes(64)).decode().rstrip("=")
    return base64.b64encode(f"{app_id}:{secret}".encode()).decode()


def split_api_key(credential: str) -> tuple[str, str]:
    """Return the app's UUID, in its usual spelling, and the secret; ("", "") if unreadable."""
    try:
        name, colon, secret = base64.b64decode(credential, validate=True).decode().partition(":")
        return (str(uuid.UUID(name)), secret) if colon else ("", "")
    except ValueError:
        return "", ""
