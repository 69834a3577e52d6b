"""Who may read an app's token: a verdict over facts, without looking anywhere."""

from dataclasses import dataclass

OVERFLOW_ID = 65534
"""What the kernel shows for a user or group of another user namespace: user_namespaces(7)."""

ROOT = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a socket, as the kernel tells.

    `groups` are the supplementary ones, `unit` the systemd unit, "" for none or unknown. A
    `pid` of 0 is a process of a PID namespace that this one cannot see into.
    """

    uid: int
    gid: int
    pid: int
    groups: frozenset[int] = frozenset()
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Permitted:
    """Whom an app's `access` names, in the kernel's terms."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    units: frozenset[str] = frozenset()


def known(peer: Peer) -> bool:
    """Return whether a peer can be told from others; who cannot is nobody in particular."""
    return peer.pid > 0 and peer.uid != OVERFLOW_ID


def operates(peer: Peer, own_uid: int) -> bool:
    """Return whether a peer is root or the daemon's own user: those may do everything."""
    return known(peer) and peer.uid in (ROOT, own_uid)


def may_read(peer: Peer, permitted: Permitted, own_uid: int) -> bool:
    """Return whether a peer may have the app's token."""
    if not known(peer):
        return False
    if operates(peer, own_uid) or peer.uid in permitted.uids:
        return True
    groups = (peer.groups | {peer.gid}) - {OVERFLOW_ID}
    return bool(groups & permitted.gids) or (peer.unit != "" and peer.unit in permitted.units)
