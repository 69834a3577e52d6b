"""Shares of connections: whoever takes too many takes nobody else's."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.api.quota import ConnectionQuota, Shares
from refresherd.domain.access import Peer

OWN = 900
SHARES = Shares(user=2, operator=3, everyone=6)


def peer(uid: int) -> Peer:
    """Return a process of a user."""
    return Peer(uid=uid, gid=uid, pid=42)


def test_a_full_share_keeps_out_its_user_alone() -> None:
    """A client that opens connections without end must not lock out the host."""
    quota = ConnectionQuota(SHARES, OWN)
    assert [quota.enter(peer(1000)) for _ in range(4)] == [True, True, False, False]
    assert quota.of(peer(1000)) == 2
    assert quota.enter(peer(1001))
    quota.leave(peer(1000))
    assert quota.enter(peer(1000))


def test_root_and_the_daemons_user_have_a_larger_share_each() -> None:
    """Services that run as one of them add up."""
    quota = ConnectionQuota(SHARES, OWN)
    for uid in (0, OWN):
        assert [quota.enter(peer(uid)) for _ in range(4)] == [True, True, True, False]


def test_everyone_together_is_bounded_too() -> None:
    """There are more users than file descriptors, and DSM must be reached all the while."""
    quota = ConnectionQuota(SHARES, OWN)
    assert [quota.enter(peer(uid)) for uid in range(1000, 1008)] == [True] * 6 + [False] * 2
    quota.leave(peer(1000))
    assert quota.enter(peer(1008))


@given(st.lists(st.tuples(st.sampled_from((0, OWN, 1000, 1001, 1002)), st.booleans())))
def test_what_is_counted_is_what_is_open(steps: list[tuple[int, bool]]) -> None:
    """A count that drifts would shut the socket, or open it without bounds."""
    quota = ConnectionQuota(SHARES, OWN)
    held: Counter[int] = Counter()
    for uid, coming in steps:
        share = SHARES.operator if uid in (0, OWN) else SHARES.user
        if coming:
            admitted = held[uid] < share and held.total() < SHARES.everyone
            assert quota.enter(peer(uid)) == admitted
            held[uid] += admitted
        elif held[uid]:
            quota.leave(peer(uid))
            held[uid] -= 1
        assert quota.of(peer(uid)) == held[uid]
