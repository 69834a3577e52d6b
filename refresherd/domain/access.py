"""Who may read an app's token, decided from facts alone."""

from dataclasses import dataclass

OVERFLOW_ID = 65534
"""The id that the kernel shows for users of other user namespaces: user_namespaces(7)."""

ROOT = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a socket, as the kernel reports it."""

    uid: int
    gid: int
    pid: int
    """0 is a process of a PID namespace that this one cannot see into."""
    groups: frozenset[int] = frozenset()
    """The supplementary groups."""
    unit: str = ""
    """The systemd unit, "" if there is none or it is unknown."""


@dataclass(frozen=True, slots=True)
class Permitted:
    """Whom an app's `access` names, as the kernel's numbers."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    units: frozenset[str] = frozenset()


def identifiable(peer: Peer) -> bool:
    """Return whether the peer can be told from others; if not, it gets no access."""
    return peer.pid > 0 and peer.uid != OVERFLOW_ID


def is_operator(peer: Peer, own_uid: int) -> bool:
    """Return whether a peer is root or the daemon's user: those may do everything."""
    return identifiable(peer) and peer.uid in (ROOT, own_uid)


def may_read(peer: Peer, permitted: Permitted, own_uid: int) -> bool:
    """Return whether a peer may read the app's token."""
    if not identifiable(peer):
        return False
    if is_operator(peer, own_uid) or peer.uid in permitted.uids:
        return True
    groups = (peer.groups | {peer.gid}) - {OVERFLOW_ID}
    return bool(groups & permitted.gids) or (peer.unit != "" and peer.unit in permitted.units)
