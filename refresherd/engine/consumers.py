"""Remembers which users were given an app's token on a socket, for its status."""

from typing import Protocol

from refresherd.domain.model import Instant
from refresherd.domain.report import Consumer

MAX_CONSUMERS = 8
"""Remembered for each app: a user may have any number of units, and a host any number of users."""


class UserNames(Protocol):
    """The names of users."""

    def learn(self, uid: int) -> None:
        """Look up a user's name, without waiting for it."""

    def name(self, uid: int) -> str:
        """Return a user's name, "" if it is not known. Safe in any thread."""


class NoNames:
    """Knows no user's name: implements UserNames."""

    def learn(self, uid: int) -> None:
        """Do nothing."""

    def name(self, uid: int) -> str:  # noqa: ARG002  # a UserNames
        """Return ""."""
        return ""


class Consumers:
    """The latest consumers of each app. Safe to read in any thread."""

    __slots__ = ("_asked", "_names")

    def __init__(self, names: UserNames | None = None) -> None:
        self._names = names or NoNames()
        self._asked: dict[str, dict[tuple[int, str], Instant]] = {}

    def record(self, app: str, uid: int, unit: str, now: Instant) -> None:
        """Record that a user was given an app's token."""
        consumers = self._asked.get(app)
        if consumers is None:
            consumers = self._asked[app] = {}
        if (uid, unit) not in consumers:
            self._names.learn(uid)
            if len(consumers) >= MAX_CONSUMERS:
                del consumers[min(consumers, key=consumers.__getitem__)]
        consumers[uid, unit] = now

    def of(self, app: str) -> tuple[Consumer, ...]:
        """Return an app's latest consumers, the latest first."""
        asked = self._asked.get(app, {}).copy()
        latest = sorted(asked.items(), key=lambda one: one[1], reverse=True)
        name = self._names.name
        return tuple(Consumer(uid, name(uid), unit, at) for (uid, unit), at in latest)

    def forget(self, app: str) -> None:
        """Forget the consumers of an app that is removed."""
        self._asked.pop(app, None)
