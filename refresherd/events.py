"""What happens in the daemon, as values without secrets, for metrics and logs.

An instant in an event is boot time: who shows it to people turns it into wall time.
A new event belongs in `Event`, and mypy then names every observer that lacks it.
"""

from dataclasses import dataclass
from enum import StrEnum

from refresherd.errors import Reason
from refresherd.model import Instant, Method


class Ending(StrEnum):
    """How the termination of a session went: the `result` label."""

    TERMINATED = "terminated"
    GONE = "gone"
    """It had ended before."""
    FAILED = "failed"
    """DSM could not be told; the session idles out by itself."""


class HookResult(StrEnum):
    """How a hook went: the `result` label."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"


class ApiRoute(StrEnum):
    """What the API socket was asked for: the `route` label."""

    APPS = "/v1/apps"
    APP = "/v1/apps/{app}"
    TOKEN = "/v1/apps/{app}/token"  # noqa: S105  # where one is got, not one
    REFRESH = "/v1/apps/{app}/refresh"
    UNKNOWN = "unknown"


class Jump(StrEnum):
    """What moved the clocks apart: the `kind` label."""

    SUSPEND = "suspend"
    STEP = "step"


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
class LoginWithheld:
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


@dataclass(frozen=True, slots=True)
class OutputWritten:
    """An output holds a token now."""

    app: str
    output: str
    generation: int


@dataclass(frozen=True, slots=True)
class OutputRemoved:
    """An output was emptied: its token is dead, or expired and not to be kept."""

    app: str
    output: str


@dataclass(frozen=True, slots=True)
class OutputFailed:
    """An output could not be brought up to date; it is tried again in `retry_in` seconds."""

    app: str
    output: str
    message: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class HookRan:
    """A hook was run for a new token.

    `message` says why it came to nothing, if it did; else what its command printed, if anything.
    """

    app: str
    hook: str
    result: HookResult
    duration: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class ApiAnswered:
    """A request on the API socket was answered, or its answer began, after `duration` seconds."""

    route: ApiRoute
    code: int
    duration: float


@dataclass(frozen=True, slots=True)
class AccessDenied:
    """A process asked a socket for an app's token that is not for it. `unit` may be ""."""

    app: str
    socket: str
    uid: int
    gid: int
    pid: int
    unit: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A user has too many connections to a socket, and was refused another."""

    socket: str
    uid: int
    connections: int


@dataclass(frozen=True, slots=True)
class AcceptFailed:
    """Nobody can be let in to a socket for now: the process or the host is out of descriptors."""

    socket: str
    reason: str


@dataclass(frozen=True, slots=True)
class AppCrashed:
    """A bug ended an app's tasks; that app alone starts over in `restart_in` seconds.

    Or it was met while the session of an app that has gone was ended; `restart_in` is 0 then.
    """

    app: str
    error: BaseException
    restart_in: float


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The machine slept, or the wall clock was set, by `seconds`."""

    kind: Jump
    seconds: float


@dataclass(frozen=True, slots=True)
class LoopLagged:
    """How late, in seconds, the event loop ran the schedule's heartbeat."""

    lag: float


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon has begun to keep its apps."""

    version: str
    apps: int


@dataclass(frozen=True, slots=True)
class Warned:
    """The configuration has something that its operator should know."""

    message: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The configuration was reloaded: so many apps came, went, began anew or got new settings."""

    at: Instant
    started: int
    stopped: int
    restarted: int
    retuned: int


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """A reload was asked for and changed nothing."""

    message: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The daemon was asked to stop, by the named signal."""

    cause: str


Event = (
    AttemptBegan
    | Renewed
    | AttemptFailed
    | LoginWithheld
    | SessionChecked
    | SessionResumed
    | TokenExpired
    | CredentialChanged
    | EntityMismatch
    | SessionEnded
    | OutputWritten
    | OutputRemoved
    | OutputFailed
    | HookRan
    | ApiAnswered
    | AccessDenied
    | TurnedAway
    | AcceptFailed
    | AppCrashed
    | ClockJumped
    | LoopLagged
    | Started
    | Warned
    | Reloaded
    | ReloadFailed
    | Stopping
)
