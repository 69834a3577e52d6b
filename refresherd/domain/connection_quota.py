"""How many connections each user may have open, and how fast new ones may come.

Root, the daemon's own user and everybody else have places of their own, so that none of the three
can take another's.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

User: TypeAlias = Hashable
"""A uid; or a remote address, where the kernel does not tell the uid."""

MAX_REMEMBERED = 1024
"""Users whose arrivals are remembered, at least; those who have been quiet are forgotten first."""


class Rank(StrEnum):
    """Whose places a connection takes."""

    ROOT = "root"
    OWN = "own"
    """The daemon's own user, unless that is root."""
    OTHER = "other"


class Refusal(StrEnum):
    """Why a connection is refused; the values are labels of a metric."""

    USER_CONNECTIONS = "user_connections"
    USER_ARRIVALS = "user_arrivals"
    ALL_CONNECTIONS = "all_connections"
    """All places of a rank are taken, and none of its connections is idle."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What the connections of all listeners together may take."""

    rank_connections: int = 4096
    """Open connections of each rank."""
    user_connections: int = 128
    """Open connections of one user who is neither root nor the daemon's own."""
    arrivals_per_second: float = 2000.0
    """New connections of one such user, in the long run."""
    arrivals_at_once: int = 1000
    """New connections of one such user after a quiet half second."""


DEFAULT_QUOTA = Quota()


def quota_for(descriptors: int | None) -> Quota:
    """Return the quota for a process that may have this many descriptors open; None: any number.

    Half of them are left for the daemon's other work. No user can take more than a quarter of the
    places that all others share.
    """
    full = DEFAULT_QUOTA
    if descriptors is None:
        return full
    places = min(full.rank_connections, max(4, descriptors // 2 // len(Rank)))
    return Quota(places, min(full.user_connections, places // 4))


@dataclass(slots=True)
class ConnectionQuota:
    """Counts open connections by user and rank, and each user's arrivals."""

    quota: Quota = DEFAULT_QUOTA
    _open: Counter[User] = field(default_factory=Counter)
    _ranks: Counter[Rank] = field(default_factory=Counter)
    _arrivals: dict[User, float] = field(default_factory=dict)
    """When each user's arrivals will have been paid for, at the rate that is allowed."""

    def arrive(self, user: User, now: float) -> Refusal | None:
        """Count a new connection towards its user's rate; return why it has to be refused.

        Root and the daemon's own user may connect as often as they like.
        """
        cost = 1 / self.quota.arrivals_per_second
        paid = max(now, self._arrivals.get(user, now)) + cost
        if paid - now > self.quota.arrivals_at_once * cost:
            return Refusal.USER_ARRIVALS
        if user not in self._arrivals and len(self._arrivals) >= MAX_REMEMBERED:
            self._arrivals = {one: until for one, until in self._arrivals.items() if until > now}
        self._arrivals[user] = paid
        return None

    def enter(self, user: User, rank: Rank) -> Refusal | None:
        """Give a connection its place; return the reason if it gets none."""
        if rank is Rank.OTHER and self._open[user] >= self.quota.user_connections:
            return Refusal.USER_CONNECTIONS
        if self._ranks[rank] >= self.quota.rank_connections:
            return Refusal.ALL_CONNECTIONS
        self._open[user] += 1
        self._ranks[rank] += 1
        return None

    def leave(self, user: User, rank: Rank) -> None:
        """Free the place of a connection that has ended."""
        self._ranks[rank] -= 1
        self._open[user] -= 1
        if not self._open[user]:
            del self._open[user]
