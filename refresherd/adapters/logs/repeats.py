"""Keeps trouble that goes on from being told over and over."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from refresherd.domain.model import Instant

REPEAT_SECONDS = 600.0
"""The same trouble is told at most once in this time."""

MAX_TROUBLES = 100_000
"""Beyond so many at once the oldest is forgotten; if it goes on it is told as new."""


@dataclass(slots=True)
class _Told:
    """When a trouble was last told, and how often it was not told since."""

    at: Instant
    suppressed: int = 0


@dataclass(slots=True)
class _Trouble:
    """What goes wrong with one thing, in all its kinds."""

    count: int = 0
    kinds: dict[str, _Told] = field(default_factory=dict)


class Repeats:
    """Decides which repetitions of a trouble are told, by what has it and the trouble's kind."""

    def __init__(self) -> None:
        self._troubles: dict[Hashable, _Trouble] = {}

    def admit(self, scope: Hashable, kind: str, now: Instant) -> int | None:
        """Return how many were suppressed before this one, None if it is to be suppressed too."""
        trouble = self._trouble(scope)
        trouble.count += 1
        message = trouble.kinds.get(kind)
        if message is None:
            trouble.kinds[kind] = _Told(now)
            return 0
        if now < message.at + REPEAT_SECONDS:
            message.suppressed += 1
            return None
        trouble.kinds[kind] = _Told(now)
        return message.suppressed

    def recover(self, scope: Hashable) -> int:
        """Forget a trouble that is over; return how often it occurred, 0 if there was none."""
        trouble = self._troubles.pop(scope, None)
        return 0 if trouble is None else trouble.count

    def _trouble(self, scope: Hashable) -> _Trouble:
        trouble = self._troubles.get(scope)
        if trouble is None:
            if len(self._troubles) >= MAX_TROUBLES:
                del self._troubles[next(iter(self._troubles))]
            trouble = self._troubles[scope] = _Trouble()
        return trouble
