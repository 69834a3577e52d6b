"""What happens in the daemon, as values without secrets, for metrics and logs.

Instants are boot time, all other times are seconds. Each event belongs in the `Event` union at the
end: mypy then names every observer that does not handle it yet.
"""

from dataclasses import dataclass

from refresherd.domain.certificates import Validity
from refresherd.domain.connection_quota import Refusal
from refresherd.domain.errors import Reason
from refresherd.domain.labels import ApiRoute, Ending, HookResult, Jump
from refresherd.domain.model import Instant, Method


@dataclass(frozen=True, slots=True)
class AppEvent:
    """Something that happened to the app of this name."""

    app: str


@dataclass(frozen=True, slots=True)
class AttemptBegan(AppEvent):
    """A request is about to be sent, `delay` seconds after it was due."""

    method: Method
    delay: float


@dataclass(frozen=True, slots=True)
class Renewed(AppEvent):
    """A new token was issued, or the life of the current one was extended (keepalive)."""

    endpoint: str
    method: Method
    duration: float
    generation: int
    expires_at: Instant
    next_refresh_at: Instant
    request_id: str


@dataclass(frozen=True, slots=True)
class AttemptFailed(AppEvent):
    """An attempt failed; the next one is due at `next_refresh_at`."""

    endpoint: str
    method: Method
    reason: Reason
    message: str
    duration: float
    consecutive_failures: int
    next_refresh_at: Instant
    request_id: str


@dataclass(frozen=True, slots=True)
class LoginPostponed(AppEvent):
    """A login was held back to protect its credential until `next_refresh_at`."""

    message: str
    next_refresh_at: Instant


@dataclass(frozen=True, slots=True)
class SessionChecked(AppEvent):
    """DSM was asked whether a session is still alive, and it is."""

    endpoint: str
    duration: float


@dataclass(frozen=True, slots=True)
class SessionResumed(AppEvent):
    """An app continues with the session that it had before the daemon was restarted."""

    generation: int
    expires_at: Instant
    next_refresh_at: Instant


@dataclass(frozen=True, slots=True)
class TokenExpired(AppEvent):
    """A token expired before it could be replaced."""

    generation: int


@dataclass(frozen=True, slots=True)
class CredentialChanged(AppEvent):
    """A refused credential was replaced, so its wait is over."""


@dataclass(frozen=True, slots=True)
class EntityMismatch(AppEvent):
    """DSM's answer names another app than the credential does: perhaps the file has a wrong key."""

    expected: str
    entity_id: str


@dataclass(frozen=True, slots=True)
class CertificateRead(AppEvent):
    """A new client certificate of an app was read; it expires at `not_after`, in unix seconds."""

    cert_file: str
    not_after: float


@dataclass(frozen=True, slots=True)
class CertificateExpires(AppEvent):
    """An app's client certificate expires soon, or has expired."""

    cert_file: str
    message: str
    validity: Validity


@dataclass(frozen=True, slots=True)
class SessionEnded(AppEvent):
    """A replaced session was terminated, or could not be."""

    result: Ending
    message: str = ""


@dataclass(frozen=True, slots=True)
class OutputWritten(AppEvent):
    """An output now holds the token of this generation."""

    output: str
    generation: int


@dataclass(frozen=True, slots=True)
class OutputUnchanged(AppEvent):
    """An output held exactly what it should hold already, so it was left alone."""

    output: str
    generation: int


@dataclass(frozen=True, slots=True)
class OutputAltered(AppEvent):
    """Somebody else removed, replaced or changed an output; it is restored in `retry_in` s."""

    output: str
    message: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class OutputRemoved(AppEvent):
    """An output was emptied: its token is dead, or has expired and `on_expiry` is `remove`."""

    output: str


@dataclass(frozen=True, slots=True)
class OutputFailed(AppEvent):
    """An output could not be updated; it is tried again in `retry_in` seconds."""

    output: str
    message: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class HookRan(AppEvent):
    """A hook ran for a new token."""

    hook: str
    result: HookResult
    duration: float
    message: str = ""
    """Why it failed; after a success what its command printed, if anything."""


@dataclass(frozen=True, slots=True)
class ApiAnswered:
    """A request on the API socket was answered, or its answer began, after `duration` seconds."""

    route: ApiRoute
    code: int
    duration: float


@dataclass(frozen=True, slots=True)
class AccessDenied(AppEvent):
    """A process asked a socket for an app's token without permission; `unit` may be ""."""

    socket: str
    uid: int
    gid: int
    pid: int
    unit: str
    message: str = ""
    """Why the process cannot be told from others, if that is why."""


@dataclass(frozen=True, slots=True)
class AccessUndecided(AppEvent):
    """It could not be told whether a process may have an app's token; it may ask again."""

    socket: str
    uid: int
    gid: int
    pid: int
    message: str


@dataclass(frozen=True, slots=True)
class ConnectionRejected:
    """A listener refused connections: the first one, or those of the last second."""

    socket: str
    reason: Refusal
    user: str
    """The uid of the client that was refused last, or its address."""
    count: int


@dataclass(frozen=True, slots=True)
class AcceptFailed:
    """A socket cannot accept for now: the process or the host is out of file descriptors."""

    socket: str
    reason: str


@dataclass(frozen=True, slots=True)
class AppCrashed(AppEvent):
    """A bug ended an app's tasks; that app alone is restarted."""

    error: BaseException
    restart_in: float
    """0 where the bug was met while terminating the session of an app that is gone."""


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The machine was suspended for `seconds`, or the wall clock was set by `seconds`."""

    kind: Jump
    seconds: float


@dataclass(frozen=True, slots=True)
class LoopLagged:
    """How late, in seconds, the event loop ran the schedule's heartbeat."""

    lag: float


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon starts its apps. It listens at the path `api` and at the addresses `http`."""

    version: str
    apps: int
    config: str = ""
    api: str = ""
    http: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """An operator should know something, about one app or ("") about the daemon."""

    message: str
    app: str = ""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The configuration was reloaded; the counts are of apps."""

    at: Instant
    started: int
    stopped: int
    restarted: int
    retuned: int


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """A reload was requested and changed nothing."""

    message: str


@dataclass(frozen=True, slots=True)
class WebConfigRead:
    """The web configuration in this file has changed, and is in force."""

    web_config: str


@dataclass(frozen=True, slots=True)
class WebConfigRefused:
    """The web configuration is faulty; the last good one, if there was one, stays in force."""

    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandshakeFailed:
    """A client could not agree with a listener on TLS, or its certificate was refused."""

    socket: str
    user: str
    """Its uid or address."""
    message: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The daemon was asked to stop, by the signal named in `cause`."""

    cause: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The daemon has stopped in order; nothing follows."""


# fmt: off
Event = (
    AttemptBegan | Renewed | AttemptFailed | LoginPostponed | SessionChecked | SessionResumed
    | SessionEnded | TokenExpired
    | CredentialChanged | EntityMismatch | CertificateRead | CertificateExpires
    | OutputWritten | OutputUnchanged | OutputAltered | OutputRemoved | OutputFailed | HookRan
    | ApiAnswered | AccessDenied | AccessUndecided | ConnectionRejected | AcceptFailed
    | AppCrashed | ClockJumped | LoopLagged
    | Started | Warned | Reloaded | ReloadFailed | Stopping | Stopped
    | WebConfigRead | WebConfigRefused | HandshakeFailed
)
