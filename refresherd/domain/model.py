"""The central values: apps as configured, tokens as issued."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import NewType

Instant = NewType("Instant", float)
"""Seconds of boot time: it goes on during a suspend, and no clock change moves it."""

B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""A bearer token: what may follow `Bearer ` in a header (RFC 6750)."""

UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""An app's UUID, as DSM writes its `entity_id`s."""


class Secret:
    """A string that prints as `***`, so that it is not shown by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the string itself, to send it or to write it to an output."""
        return self._value

    def fingerprint(self) -> str:
        """Return its SHA-256, which does not reveal a random secret.

        A password might be guessed by it, so it is only kept where a token is kept as well.
        """
        return sha256(self._value.encode()).hexdigest()

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a secret must not be a dictionary key

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")


class Method(StrEnum):
    """How a session is renewed: the `renew` setting, and the `method` label."""

    AUTH = "auth"
    REAUTH = "reauth"
    KEEPALIVE = "keepalive"


class Format(StrEnum):
    """A format in which consumers read a token."""

    RAW = "raw"
    HEADER = "header"
    JSON = "json"
    ENV = "env"
    SDKMS_CLI = "sdkms-cli"


class OnExpiry(StrEnum):
    """What happens to a file whose token has expired."""

    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An app's DSM, and how to reach it. Times in seconds."""

    url: str
    ca_file: Path | None = None
    timeout: float = 20.0
    proxy: str = field(default="", repr=False)
    """May hold a user and a password."""
    max_in_flight: int = 32


@dataclass(frozen=True, slots=True)
class Timing:
    """When an app's session is renewed, checked and terminated. Times in seconds."""

    at: float = 0.5
    jitter: float = 0.1
    retry_min: float = 1.0
    retry_max: float = 30.0
    rejected_retry: float = 1800.0
    renew: Method = Method.REAUTH
    session_check: float | None = None
    terminate_after: float | None = 60.0


@dataclass(frozen=True, slots=True)
class ApiKeyFile:
    """An API key in a file."""

    path: Path


@dataclass(frozen=True, slots=True)
class SystemdCredential:
    """An API key that systemd passes to the unit under a name (LoadCredential=)."""

    name: str
    directory: Path | None
    """Where systemd puts it, None if the daemon is not run as such a unit."""


@dataclass(frozen=True, slots=True)
class ApiKeyEnv:
    """An API key in the daemon's environment."""

    variable: str


@dataclass(frozen=True, slots=True)
class ApiKeyCommand:
    """An API key on a command's standard output."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A live bearer token in a file, for hosts that hold no API key."""

    path: Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate app's UUID and TLS client certificate."""

    app_id: str
    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class LdapApp:
    """An app whose password an LDAP server checks; DSM knows it by its account and its name."""

    acct_id: str
    """The UUID of the account that the app belongs to."""
    app_name: str
    password_file: Path


Credential = (
    ApiKeyFile | SystemdCredential | ApiKeyEnv | ApiKeyCommand | TokenFile | Certificate | LdapApp
)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who may open an output. Owner and group are names or numbers; "" is the daemon's own."""

    mode: int = 0o600
    owner: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file that holds the newest token."""

    path: Path
    format: Format = Format.RAW
    ownership: Ownership = Ownership()
    on_expiry: OnExpiry = OnExpiry.KEEP


@dataclass(frozen=True, slots=True)
class SocketSpec:
    """A Unix socket on which clients read the newest token."""

    path: Path
    format: Format = Format.RAW
    ownership: Ownership = Ownership()


@dataclass(frozen=True, slots=True)
class HookSpec:
    """What to run after each new token: `command`, or `signal` for the process in `pid_file`."""

    command: tuple[str, ...] = ()
    signal: str = ""
    """A name such as HUP."""
    pid_file: Path | None = None
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Access:
    """The names of those whom the API socket serves besides root and the daemon's user."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class App:
    """One DSM app as configured; a reload leaves equal apps alone."""

    name: str
    endpoint: Endpoint
    credential: Credential
    timing: Timing = Timing()
    files: tuple[FileSpec, ...] = ()
    sockets: tuple[SocketSpec, ...] = ()
    hooks: tuple[HookSpec, ...] = ()
    access: Access = Access()
    bind_to: str = ""
    """The UUID of another app, whose credential DSM checks when the session is used, or ""."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A new session as DSM granted it. `lifetime` is in seconds, above 0."""

    access_token: Secret
    entity_id: str
    lifetime: float
    request_id: str = ""


def session_file(state_dir: Path, app: str) -> Path:
    """Return where the newest session of an app with a `TokenFile` outlives a restart."""
    return state_dir / f"{app}.session"


def login_file(state_dir: Path) -> Path:
    """Return where the failed logins of all API keys outlive a restart."""
    return state_dir / "logins"


def generation_file(state_dir: Path) -> Path:
    """Return where the generations of all apps' last tokens outlive a restart."""
    return state_dir / "generations"


@dataclass(frozen=True, slots=True)
class Token:
    """A session's bearer token.

    Its lifetime counts from `issued_at`, the instant before its request was sent. DSM begins to
    count at some time between then and the answer, so this is the safe assumption.
    """

    access_token: Secret
    entity_id: str
    generation: int
    issued_at: Instant
    lifetime: float
    expires_at: Instant
