"""Who may read an app's token, decided from facts alone."""

from dataclasses import dataclass
from enum import Enum, auto

OVERFLOW_ID = 65534
"""The id that the kernel shows for users and groups without a number: user_namespaces(7)."""

ROOT = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a socket, as the kernel reports it."""

    uid: int
    gid: int
    pid: int
    """0 is a process of a PID namespace that this one cannot see into."""
    known: bool = True
    """False if the uid stands for all users who have no number in the daemon's user namespace."""
    groups: frozenset[int] | None = None
    """The groups that it is a member of, its own included; None until they are looked up."""
    unit: str | None = None
    """The systemd unit, "" if there is none or it is unknown; None until it is looked up."""


@dataclass(frozen=True, slots=True)
class Permitted:
    """Whom an app's `access` names, as the kernel's numbers."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    units: frozenset[str] = frozenset()


class Verdict(Enum):
    """Whether a peer may read a token, or which fact about it the decision needs."""

    GRANTED = auto()
    DENIED = auto()
    NEEDS_GROUPS = auto()
    NEEDS_UNIT = auto()


def identifiable(peer: Peer) -> bool:
    """Return whether the peer can be told from others; if not, it gets no access."""
    return peer.pid > 0 and peer.known


def is_operator(peer: Peer, own_uid: int) -> bool:
    """Return whether a peer is root or the daemon's user: those may do everything."""
    return identifiable(peer) and peer.uid in (ROOT, own_uid)


def decide(peer: Peer, permitted: Permitted, own_uid: int) -> Verdict:
    """Return whether a peer may read the app's token, or the fact to look up first.

    The groups are needed only if the user does not suffice, and the unit, which costs most, only
    if neither does.
    """
    if not identifiable(peer):
        return Verdict.DENIED
    named = is_operator(peer, own_uid) or peer.uid in permitted.uids
    in_group = not permitted.gids.isdisjoint(peer.groups or ())
    in_unit = bool(peer.unit) and peer.unit in permitted.units
    if named or in_group or in_unit:
        return Verdict.GRANTED
    if permitted.gids and peer.groups is None:
        return Verdict.NEEDS_GROUPS
    if permitted.units and peer.unit is None:
        return Verdict.NEEDS_UNIT
    return Verdict.DENIED


def why_unidentifiable(peer: Peer) -> str:
    """Return why a peer cannot be told from others and what helps, "" if it can be told."""
    if peer.pid <= 0:
        return (
            "the daemon cannot see your process, which runs in another PID namespace; run one of "
            "the two in the other's namespace"
        )
    if not peer.known:
        return (
            f"the daemon sees you as uid {peer.uid}, which in its user namespace stands for every "
            "user without a number there; connect as another user, or run the daemon in a user "
            "namespace with all users (in a unit: without PrivateUsers=)"
        )
    return ""
