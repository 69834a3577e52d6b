"""The emulated DSM's apps, with their credentials and counts."""

import base64
import hmac
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal

from refresherd.emulator.fields import did_you_mean

Kind = Literal["api_key", "certificate", "ldap"]
"""How an app logs in: by an API key, a TLS client certificate, or its name and a password."""

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
    secret: str
    """The secret in its API key, or an LDAP app's password; "" for a certificate app."""
    lifetime: float
    """Seconds that its sessions live; a change applies to sessions opened later."""
    kind: Kind = "api_key"
    generation: int = 0
    """Sessions opened in an earlier generation have ended."""
    counts: Counts = field(default_factory=Counts)
    failures: deque[float] = field(default_factory=deque)
    """When logins by API key failed, in seconds on the emulator's clock."""

    @property
    def api_key(self) -> str:
        """Base64 of `<id>:<secret>`, without a secret for a certificate app; "" for an LDAP app."""
        if self.kind == "ldap":
            return ""
        return base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()

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
        self.account_id = str(uuid.UUID(bytes=random_bytes(16), version=4))
        """The UUID of the account that all apps belong to."""
        self.changed: Callable[[], None] = lambda: None
        """Called after an app has been added or has got a new secret."""

    def __iter__(self) -> Iterator[App]:
        return iter(tuple(self._apps.values()))

    def __len__(self) -> int:
        return len(self._apps)

    def __getitem__(self, index: int) -> App:
        return tuple(self._apps.values())[index]

    def add(  # noqa: PLR0913 - what an app may be given
        self,
        name: str = "",
        *,
        api_key: str = "",
        certificate: bool = False,
        ldap: bool = False,
        password: str = "",
        lifetime: float | None = None,
        app_id: str = "",
    ) -> App:
        """Add an app that logs in by an API key, or a certificate, or its name and a password.

        UUID, API key and password are random by default. Raises ValueError for a malformed API key,
        and for a UUID or a name that is taken.
        """
        if certificate + ldap + bool(api_key) > 1:
            raise ValueError("an app has one of api_key, certificate and ldap; keep one of them")
        if password and not ldap:
            raise ValueError("only an LDAP app has a password; set ldap to true as well")
        _check("name", name)
        _check("password", password)
        if lifetime is not None and lifetime <= 0:
            raise ValueError("lifetime: must be more than 0 seconds")
        if api_key:
            app_id, secret = split_api_key(api_key)
            if not app_id or not secret:
                raise ValueError("api_key: not an API key; write base64 of <app uuid>:<secret>")
        else:
            app_id = app_id or str(uuid.UUID(bytes=self._random_bytes(16), version=4))
            secret = password or random_text(self._random_bytes)
        name = name or self._unused_name()
        for taken in self:
            if app_id == taken.id:
                raise ValueError(
                    f"an app with the UUID {app_id} already exists; choose another one"
                )
            if name == taken.name:
                raise ValueError(
                    f'an app with the name "{name}" already exists; choose another one'
                )
        app = self._apps[app_id] = App(
            id=app_id,
            name=name,
            secret="" if certificate else secret,
            lifetime=self._lifetime if lifetime is None else lifetime,
            kind="certificate" if certificate else "ldap" if ldap else "api_key",
        )
        self.changed()
        return app

    def fill(self, *, api_key: int, certificate: int, ldap: int) -> None:
        """Add apps until there are at least as many of each kind."""
        there = Counter(app.kind for app in self)
        for _ in range(api_key - there["api_key"]):
            self.add()
        for _ in range(certificate - there["certificate"]):
            self.add(certificate=True)
        for _ in range(ldap - there["ldap"]):
            self.add(ldap=True)

    def _unused_name(self) -> str:
        names = {app.name for app in self}
        numbers = count(len(self) + 1)
        return next(name for name in (f"app-{number}" for number in numbers) if name not in names)

    def find(self, app: str) -> App:
        """Return the app with this UUID or name. Raises ValueError for an unknown one."""
        for candidate in self:
            if app in (candidate.id, candidate.name):
                return candidate
        names = [candidate.name for candidate in self]
        raise ValueError(f'there is no app "{app}"; {did_you_mean(app, names, "the apps")}')

    def with_id(self, app_id: str) -> App | None:
        """Return the app with this UUID, None if there is none."""
        return self._apps.get(app_id.lower())

    def with_name(self, name: str | None) -> App | None:
        """Return the LDAP app of this name, None if there is none."""
        return next((app for app in self if app.kind == "ldap" and app.name == name), None)

    def named_by(self, credential: str) -> App | None:
        """Return the app that a Basic credential names, whether or not its secret is right."""
        return self._apps.get(split_api_key(credential)[0])

    def authenticate(self, credential: str, certificate_name: str | None, now: float) -> App | None:
        """Return the app whose credential this is; None if it is refused, which is counted.

        `certificate_name` is the common name of the TLS client certificate. A success does not
        reset the count of failures: DSM's documents do not say that it does.
        """
        app_id, secret = split_api_key(credential)
        app = self._apps.get(app_id)
        if app is None:
            return None
        if app.kind == "certificate":
            accepted = not secret and certificate_name == app.id
        else:
            right = hmac.compare_digest(secret.encode(), app.secret.encode())
            accepted = right and app.kind == "api_key"
        if accepted:
            return app
        app.counts.failed_logins += 1
        if app.kind == "api_key":
            app.failures.append(now)
            if app.recent_failures(now) >= FIPS_FAILURES and self._fips:
                self.reset_secret(app)
        return None

    def authenticate_by_name(self, acct_id: str, name: str, password: str) -> App | None:
        """Return the LDAP app of this name; None if it is refused, which is counted."""
        if acct_id.lower() != self.account_id:
            return None
        app = self.with_name(name)
        if app is None or hmac.compare_digest(
            password.encode(errors="surrogatepass"), app.secret.encode()
        ):
            return app
        app.counts.failed_logins += 1
        return None

    def reset_secret(self, app: App) -> None:
        """Give the app a new secret; the old key never works again and all its sessions end."""
        if app.kind != "certificate":
            app.secret = random_text(self._random_bytes)
        app.generation += 1
        app.failures.clear()
        app.counts.secret_resets += 1
        self.changed()


def _check(field_name: str, text: str) -> None:
    if not text.isprintable() or text.isspace():
        raise ValueError(f"{field_name}: must be one line of printable characters")


def split_api_key(credential: str) -> tuple[str, str]:
    """Return the app's UUID, in lower case, and the secret; ("", "") if it is unreadable."""
    try:
        name, colon, secret = base64.b64decode(credential, validate=True).decode().partition(":")
        return (str(uuid.UUID(name)), secret) if colon else ("", "")
    except ValueError:
        return "", ""


def random_text(random_bytes: Callable[[int], bytes]) -> str:
    """Return 86 characters of base64url, as DSM's tokens are."""
    return base64.urlsafe_b64encode(random_bytes(64)).decode().rstrip("=")
