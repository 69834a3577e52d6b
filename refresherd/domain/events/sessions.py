"""What happens to an app's session: attempts, and what comes of them."""

from dataclasses import dataclass
from enum import StrEnum

from refresherd.domain.errors import Reason
from refresherd.domain.model import Instant, Method


class Ending(StrEnum):
    """How the termination of a session went: the `result` label."""

    TERMINATED = "terminated"
    GONE = "gone"
    """It had ended before."""
    FAILED = "failed"
    """DSM could not be told; the session idles out by itself."""


@dataclass(frozen=True, slots=True)
class AttemptBegan:
    """A request is about to be sent, `delay` seconds after it was due."""

    app: str
    method: Method
    delay: float


@dataclass(frozen=True, slots=True)
class Renewed:
    """A new token was issued, or the same one's life was extended (keepalive)."""

    app: str
    endpoint: str
    method: Method
    duration: float
    generation: int
    expires_at: Instant
    next_refresh_at: Instant
    request_id: str


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """An app goes on with the session that it had before the daemon was restarted."""

    app: str
    generation: int
    expires_at: Instant
    next_refresh_at: Instant


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt came to nothing; the next one is at `next_refresh_at`."""

    app: str
    endpoint: str
    method: Method
    reason: Reason
    message: str
    duration: float
    consecutive_failures: int
    next_refresh_at: Instant
    request_id: str


@dataclass(frozen=True, slots=True)
class LoginPostponed:
    """A login was not sent, to spare its credential; the next attempt is at `next_refresh_at`."""

    app: str
    message: str
    next_refresh_at: Instant


@dataclass(frozen=True, slots=True)
class SessionChecked:
    """DSM was asked whether a session still lives, and it does."""

    app: str
    endpoint: str
    duration: float


@dataclass(frozen=True, slots=True)
class TokenExpired:
    """A token ran out before it could be replaced."""

    app: str
    generation: int


@dataclass(frozen=True, slots=True)
class CredentialChanged:
    """A refused credential was replaced: its wait is over."""

    app: str


@dataclass(frozen=True, slots=True)
class EntityMismatch:
    """DSM named another app than the credential's: perhaps the wrong key in the file."""

    app: str
    expected: str
    entity_id: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A replaced session was ended, or could not be."""

    app: str
    result: Ending
    message: str = ""
