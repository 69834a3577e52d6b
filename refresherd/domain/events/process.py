"""What happens to the daemon itself."""

from dataclasses import dataclass
from enum import StrEnum

from refresherd.domain.model import Instant


class Jump(StrEnum):
    """What moved the clocks apart: the `kind` label."""

    SUSPEND = "suspend"
    STEP = "step"


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
    """There is something that an operator should know, perhaps about one app alone."""

    message: str
    app: str = ""


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
