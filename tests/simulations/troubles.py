"""Troubles on a simulated machine: what they are, when, and which apps they concern."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """A trouble that lasts for a while, or (from LOGGED_OUT on) an event at an instant."""

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
    LOGGED_OUT = "somebody else ended all sessions"
    SUSPENDED = "the machine was suspended"
    STEPPED = "the wall clock was set"
    STARTED = "the app was restarted, or continues under other settings"
    HASTENED = "a refresh was requested"


INSTANTS = frozenset((Kind.LOGGED_OUT, Kind.SUSPENDED, Kind.STEPPED, Kind.STARTED, Kind.HASTENED))

AT_OUTPUTS = frozenset((Kind.FULL, Kind.STUCK, Kind.BUG))


@dataclass(frozen=True, slots=True)
class Trouble:
    """A trouble from `start` to `end` in boot time, of one app or (with "") of all."""

    kind: Kind
    start: float
    end: float
    app: str = ""

    def concerns(self, app: str) -> bool:
        """Return whether it concerns an app."""
        return self.app in ("", app)


class Troubles:
    """All troubles so far."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._all: list[Trouble] = []

    def begin(self, kind: Kind, seconds: float = 0.0, app: str = "") -> None:
        """Begin a trouble now, which lasts that long."""
        now = self._now()
        self._all.append(Trouble(kind, now, now + seconds, app))

    def now(self, kind: Kind, app: str) -> bool:
        """Return whether an app has this trouble now."""
        now = self._now()
        return any(one.start <= now < one.end for one in self.of(app, kind))

    def of(self, app: str, *kinds: Kind) -> list[Trouble]:
        """Return the troubles that have concerned an app, of these kinds or of all."""
        return [one for one in self._all if one.concerns(app) and (not kinds or one.kind in kinds)]

    def changes(self, kind: Kind, app: str) -> int:
        """Return how often this trouble has begun and ended for an app."""
        now = self._now()
        return sum((one.start <= now) + (one.end <= now) for one in self.of(app, kind))

    def excuse(self, app: str, patience: Callable[[Trouble], float]) -> bool:
        """Return whether an app has a trouble, or had one no longer ago than its `patience`."""
        now = self._now()
        return any(now <= one.end + patience(one) for one in self.of(app))

    def since(self, app: str, instant: float, *kinds: Kind) -> bool:
        """Return whether an app has had any of these troubles since an instant."""
        return any(one.end >= instant for one in self.of(app, *kinds))
