"""Who sleeps until when, soonest first: a heap in which those who left are dropped lazily."""

from heapq import heapify, heappop, heappush
from math import isnan
from typing import Generic, Protocol, TypeVar

from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER

AWAKE = 0

TOLERATED = 64
"""So many dead entries are never worth a compaction."""


class Sleeper(Protocol):
    """Who can be in the heap, once at a time."""

    ticket: int
    """The number of its entry, AWAKE if it has none. Only the heap sets it."""


S = TypeVar("S", bound=Sleeper)


class Deadlines(Generic[S]):
    """The heap. `len()` counts the entries that it holds, dead ones included."""

    def __init__(self) -> None:
        self._heap: list[tuple[Instant, int, S]] = []
        self._tickets = AWAKE
        self._asleep = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def head(self) -> Instant:
        """The soonest deadline, NEVER if nobody sleeps."""
        while self._heap and self._dead(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER

    def add(self, at: Instant, sleeper: S) -> bool:
        """Have an awake sleeper sleep until `at`; tell whether that is sooner than all others.

        Raises ValueError for a deadline that is not a number: the heap would lose its order.
        """
        if isnan(at):
            raise ValueError("a deadline must be a number")
        sooner = at < self.head
        self._tickets += 1
        sleeper.ticket = self._tickets
        heappush(self._heap, (at, self._tickets, sleeper))
        self._asleep += 1
        return sooner

    def discard(self, sleeper: S) -> None:
        """Forget a sleeper; one that is awake is fine."""
        if sleeper.ticket != AWAKE:
            self._rouse(sleeper)
            self._compact()

    def pop_due(self, now: Instant, limit: int) -> list[S]:
        """Remove and return up to `limit` sleepers whose deadline is not after `now`, in order."""
        due: list[S] = []
        while len(due) < limit and self.head <= now and self._heap:
            sleeper = heappop(self._heap)[2]
            self._rouse(sleeper)
            due.append(sleeper)
        self._compact()
        return due

    def _rouse(self, sleeper: S) -> None:
        sleeper.ticket = AWAKE
        self._asleep -= 1

    def _compact(self) -> None:
        """Drop the dead once they are more than half: each is then moved but a few times."""
        if len(self._heap) > 2 * self._asleep + TOLERATED:
            self._heap = [entry for entry in self._heap if not self._dead(entry)]
            heapify(self._heap)

    @staticmethod
    def _dead(entry: tuple[Instant, int, S]) -> bool:
        _, ticket, sleeper = entry
        return sleeper.ticket != ticket
