"""Who may read a token: every way in, and every way that must stay closed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.access import (
    Peer,
    Permitted,
    Verdict,
    decide,
    identifiable,
    is_operator,
    why_unidentifiable,
)

OWN = 900
STRANGER = Peer(uid=1000, gid=1000, pid=42, groups=frozenset({5, 6, 1000}), unit="web.service")
NOBODY = Permitted()

IDS = st.sampled_from((0, 5, 6, OWN, 1000, 1001))
UNITS = st.sampled_from(("", "web.service", "db.service"))
PEERS = st.builds(
    Peer,
    uid=IDS,
    gid=IDS,
    pid=st.sampled_from((0, 1, 42)),
    known=st.booleans(),
    groups=st.none() | st.frozensets(IDS, max_size=3),
    unit=st.none() | UNITS,
)
PERMITTED = st.builds(
    Permitted,
    uids=st.frozensets(IDS, max_size=3),
    gids=st.frozensets(IDS, max_size=3),
    units=st.frozensets(UNITS, max_size=3),
)


def may_read(peer: Peer, permitted: Permitted) -> bool:
    """Return whether a peer about which all is known may read the token."""
    verdict = decide(peer, permitted, OWN)
    assert verdict in (Verdict.GRANTED, Verdict.DENIED)
    return verdict is Verdict.GRANTED


@pytest.mark.parametrize("uid", [0, OWN])
def test_root_and_the_daemons_user_need_not_be_named(uid: int) -> None:
    """They could read the daemon's memory anyway, and an operator must get in."""
    peer = Peer(uid=uid, gid=1, pid=42)
    assert is_operator(peer, OWN)
    assert may_read(peer, NOBODY)


def test_process_number_1_gets_access() -> None:
    """LoadCredential= has systemd itself connect, and a container's only process is number 1."""
    assert may_read(Peer(uid=0, gid=0, pid=1), NOBODY)


def test_a_stranger_is_denied() -> None:
    """The socket itself is open to all."""
    assert not is_operator(STRANGER, OWN)
    assert not may_read(STRANGER, NOBODY)


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
    assert may_read(STRANGER, permitted)
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
    assert not may_read(STRANGER, permitted)


def test_a_process_without_a_unit_matches_no_empty_name() -> None:
    """A shell in no unit must not match a name that was left empty."""
    nobody = replace(STRANGER, unit="")
    assert not may_read(nobody, Permitted(units=frozenset({""})))


@pytest.mark.parametrize(
    ("permitted", "verdict"),
    [
        (Permitted(), Verdict.DENIED),
        (Permitted(uids=frozenset({1000})), Verdict.GRANTED),
        (Permitted(uids=frozenset({7})), Verdict.DENIED),
        (Permitted(gids=frozenset({7}), units=frozenset({"a.service"})), Verdict.NEEDS_GROUPS),
        (Permitted(uids=frozenset({7}), units=frozenset({"a.service"})), Verdict.NEEDS_UNIT),
    ],
)
def test_only_what_the_decision_needs_is_looked_up(permitted: Permitted, verdict: Verdict) -> None:
    """Looking a unit up costs milliseconds, so nobody who needs none pays for it."""
    assert decide(Peer(uid=1000, gid=1000, pid=42), permitted, OWN) is verdict


def test_the_unit_is_needed_last() -> None:
    """Once the groups are known, and only if they do not suffice."""
    peer = Peer(uid=1000, gid=1000, pid=42, groups=frozenset({5}))
    units = frozenset({"a.service"})
    assert decide(peer, Permitted(gids=frozenset({5}), units=units), OWN) is Verdict.GRANTED
    assert decide(peer, Permitted(gids=frozenset({6}), units=units), OWN) is Verdict.NEEDS_UNIT


@given(PEERS, PERMITTED, st.sampled_from((0, OWN)))
def test_a_peer_that_cannot_be_identified_is_never_let_in(
    peer: Peer, permitted: Permitted, own: int
) -> None:
    """Its uid stands for many users of other namespaces, or its pid 0 for their processes."""
    if not peer.known or peer.pid == 0:
        assert not identifiable(peer)
        assert not is_operator(peer, own)
        assert decide(peer, permitted, own) is Verdict.DENIED
    assert identifiable(peer) == (why_unidentifiable(peer) == "")


@given(PEERS, PERMITTED)
def test_nobody_is_let_in_without_a_reason(peer: Peer, permitted: Permitted) -> None:
    """An empty unit is none, and neither is a fact that nobody has looked up."""
    reasons = (
        peer.uid in (0, OWN)
        or peer.uid in permitted.uids
        or bool((peer.groups or frozenset()) & permitted.gids)
        or (bool(peer.unit) and peer.unit in permitted.units)
    )
    granted = decide(peer, permitted, OWN) is Verdict.GRANTED
    assert granted == (identifiable(peer) and reasons)


@given(PEERS, PERMITTED)
def test_more_facts_lead_to_a_decision(peer: Peer, permitted: Permitted) -> None:
    """Each fact is asked for once at most; with all of them there is an answer."""
    for _ in range(3):
        match decide(peer, permitted, OWN):
            case Verdict.NEEDS_GROUPS:
                assert peer.groups is None
                peer = replace(peer, groups=frozenset({peer.gid}))
            case Verdict.NEEDS_UNIT:
                assert peer.unit is None
                peer = replace(peer, unit="web.service")
            case verdict:
                assert verdict in (Verdict.GRANTED, Verdict.DENIED)
                return
    pytest.fail("there is no end of facts")
