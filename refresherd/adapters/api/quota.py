"""How many connections each user has open: whoever fills their own share takes nobody else's."""

from collections import Counter
from dataclasses import dataclass, field

from refresherd.domain.access import Peer, operates


@dataclass(frozen=True, slots=True)
class Shares:
    """The most connections of one user, of root or the daemon's own user, and of all together."""

    user: int = 128
    operator: int = 4096
    everyone: int = 8192


@dataclass(slots=True)
class ConnectionQuota:
    """Counts who comes and goes."""

    shares: Shares
    own_uid: int
    _open: Counter[int] = field(default_factory=Counter)
    _total: int = 0

    def enter(self, peer: Peer) -> bool:
        """Count a connection, unless its user or everyone together has enough of them."""
        share = self.shares.operator if operates(peer, self.own_uid) else self.shares.user
        if self._open[peer.uid] >= share or self._total >= self.shares.everyone:
            return False
        self._open[peer.uid] += 1
        self._total += 1
        return True

    def leave(self, peer: Peer) -> None:
        """Discount a connection that was counted."""
        self._total -= 1
        self._open[peer.uid] -= 1
        if not self._open[peer.uid]:
            del self._open[peer.uid]

    def of(self, peer: Peer) -> int:
        """Return how many connections a peer's user has open."""
        return self._open.get(peer.uid, 0)
