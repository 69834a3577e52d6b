"""What can be the matter on a simulated machine, when it is, and whom it concerns."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What can be the matter for a while, or, from SUSPENDED on, what happens at an instant."""

    REFUSED = "connection refused"
    HANGS = "no answer"
    LOST = "DSM does what it is asked, and its answer is lost"
    SLOW = "an answer takes as long as it may"
    BROKEN = "500"
    THROTTLED = "429, with a Retry-After beyond reason"
    FORBIDDEN = "a proxy answers 403 to everything"
    TINY = "sessions are granted for a second"
    ENDLESS = "sessions are granted for 136 years"
    WRONG_KEY = "the key on the host is not the app's"
    FULL = "an output cannot be written"
    STUCK = "an output does not answer"
    BUG = "an output's code has a bug"
    LOGGED_OUT = "all sessions were ended by somebody else"
    SUSPENDED = "the machine slept"
    STEPPED = "the wall clock was set"
    STARTED = "the app was started anew, or carries on under other settings"
    HASTENED = "an attempt was asked for"


INSTANTS = frozenset((Kind.LOGGED_OUT, Kind.SUSPENDED, Kind.STEPPED, Kind.STARTED, Kind.HASTENED))

AT_OUTPUTS = frozenset((Kind.FULL, Kind.STUCK, Kind.BUG))


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is the matter from `start` to `end` in boot time; no `app` means all of them."""

    kind: Kind
    start: float
    end: float
    app: str = ""

    def concerns(self, app: str) -> bool:
        """Return whether an app has to do with it."""
        return self.app in ("", app)


class Troubles:
    """All that has been the matter so far."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._all: list[Trouble] = []

    def begin(self, kind: Kind, seconds: float = 0.0, app: str = "") -> None:
        """Have something be the matter from now on for so long."""
        now = self._now()
        self._all.append(Trouble(kind, now, now + seconds, app))

    def now(self, kind: Kind, app: str) -> bool:
        """Return whether this is the matter with an app now."""
        now = self._now()
        return any(one.start <= now < one.end for one in self.of(app, kind))

    def of(self, app: str, *kinds: Kind) -> list[Trouble]:
        """Return all that has concerned an app, of some kinds only where any are named."""
        return [one for one in self._all if one.concerns(app) and (not kinds or one.kind in kinds)]

    def changes(self, kind: Kind, app: str) -> int:
        """Return how often this has begun and ended for an app."""
        now = self._now()
        return sum((one.start <= now) + (one.end <= now) for one in self.of(app, kind))

    def excuse(self, app: str, patience: Callable[[Trouble], float]) -> bool:
        """Return whether something is the matter, or was, no longer ago than that is borne with."""
        now = self._now()
        return any(now <= one.end + patience(one) for one in self.of(app))

    def since(self, app: str, instant: float, *kinds: Kind) -> bool:
        """Return whether any of this was the matter with an app since an instant."""
        return any(one.end >= instant for one in self.of(app, *kinds))
