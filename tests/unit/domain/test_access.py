"""Who may read a token: every way in, and every way that must stay closed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.access import (
    OVERFLOW_ID,
    Peer,
    Permitted,
    identifiable,
    is_operator,
    may_read,
)

OWN = 900
STRANGER = Peer(uid=1000, gid=1000, pid=42, groups=frozenset({5, 6}), unit="web.service")
NOBODY = Permitted()

IDS = st.sampled_from((0, 5, 6, OWN, 1000, 1001, OVERFLOW_ID))
PEERS = st.builds(
    Peer,
    uid=IDS,
    gid=IDS,
    pid=st.sampled_from((0, 1, 42)),
    groups=st.frozensets(IDS, max_size=3),
    unit=st.sampled_from(("", "web.service", "db.service")),
)
PERMITTED = st.builds(
    Permitted,
    uids=st.frozensets(IDS, max_size=3),
    gids=st.frozensets(IDS, max_size=3),
    units=st.frozensets(st.sampled_from(("", "web.service", "db.service"))),
)


@pytest.mark.parametrize("uid", [0, OWN])
def test_root_and_the_daemons_user_need_not_be_named(uid: int) -> None:
    """They could read the daemon's memory anyway, and an operator must get in."""
    peer = Peer(uid=uid, gid=1, pid=42)
    assert is_operator(peer, OWN)
    assert may_read(peer, NOBODY, OWN)


def test_process_number_1_gets_access() -> None:
    """LoadCredential= has systemd itself connect, and a container's only process is number 1."""
    assert may_read(Peer(uid=0, gid=0, pid=1), NOBODY, OWN)


def test_a_stranger_is_denied() -> None:
    """The socket itself is open to all."""
    assert not is_operator(STRANGER, OWN)
    assert not may_read(STRANGER, NOBODY, OWN)


@pytest.mark.parametrize(
    "permitted",
    [
        Permitted(uids=frozenset({1000})),
        Permitted(gids=frozenset({1000})),
        Permitted(gids=frozenset({6, 7})),
        Permitted(units=frozenset({"db.service", "web.service"})),
    ],
)
def test_any_one_of_user_group_and_unit_suffices(permitted: Permitted) -> None:
    """They are alternatives, as an operator reads the three lists."""
    assert may_read(STRANGER, permitted, OWN)
    assert not is_operator(STRANGER, OWN)


@pytest.mark.parametrize(
    "permitted",
    [
        Permitted(uids=frozenset({42, 5, 6})),
        Permitted(gids=frozenset({42})),
        Permitted(units=frozenset({"web", "web.servic", "eb.service"})),
    ],
)
def test_near_misses_are_denied(permitted: Permitted) -> None:
    """A pid is no uid, a gid no uid, and part of a unit's name no unit."""
    assert not may_read(STRANGER, permitted, OWN)


def test_a_process_without_a_unit_matches_no_empty_name() -> None:
    """A shell in no unit must not match a name that was left empty."""
    nobody = replace(STRANGER, unit="")
    assert not may_read(nobody, Permitted(units=frozenset({""})), OWN)


@given(PEERS, PERMITTED, st.sampled_from((0, OWN, OVERFLOW_ID)))
def test_a_peer_that_cannot_be_identified_is_never_let_in(
    peer: Peer, permitted: Permitted, own: int
) -> None:
    """65534 stands for all users of other namespaces, and pid 0 for all their processes."""
    if peer.uid == OVERFLOW_ID or peer.pid == 0:
        assert not identifiable(peer)
        assert not is_operator(peer, own)
        assert not may_read(peer, permitted, own)


@given(PEERS, PERMITTED)
def test_nobody_is_let_in_without_a_reason(peer: Peer, permitted: Permitted) -> None:
    """Neither the overflow group nor an empty unit is one."""
    groups = (peer.groups | {peer.gid}) - {OVERFLOW_ID}
    reasons = (
        peer.uid in (0, OWN)
        or peer.uid in permitted.uids
        or bool(groups & permitted.gids)
        or (bool(peer.unit) and peer.unit in permitted.units)
    )
    assert may_read(peer, permitted, OWN) == (identifiable(peer) and reasons)
