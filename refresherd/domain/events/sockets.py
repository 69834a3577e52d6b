"""What happens on the sockets: who is answered, and who is not."""

from dataclasses import dataclass
from enum import StrEnum


class ApiRoute(StrEnum):
    """What the API socket was asked for: the `route` label."""

    APPS = "/v1/apps"
    APP = "/v1/apps/{app}"
    TOKEN = "/v1/apps/{app}/token"  # noqa: S105  # where one is got, not one
    REFRESH = "/v1/apps/{app}/refresh"
    UNKNOWN = "unknown"


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
class ConnectionRejected:
    """A user has too many connections to a socket, and was refused another."""

    socket: str
    uid: int
    connections: int


@dataclass(frozen=True, slots=True)
class AcceptFailed:
    """Nobody can be let in to a socket for now: the process or the host is out of descriptors."""

    socket: str
    reason: str
