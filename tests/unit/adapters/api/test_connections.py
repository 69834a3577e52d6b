"""The quota of connections: a user who takes too many takes nobody else's."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.api.connections import ConnectionQuota, Limits
from refresherd.domain.access import Peer

OWN = 900
LIMITS = Limits(user_connections=2, operator_connections=3, all_connections=6)


def peer(uid: int) -> Peer:
    """Return a process of a user."""
    return Peer(uid=uid, gid=uid, pid=42)


def test_a_full_quota_rejects_its_user_alone() -> None:
    """A client that opens connections without end must not lock out the host."""
    quota = ConnectionQuota(LIMITS, OWN)
    assert [quota.enter(peer(1000)) for _ in range(4)] == [True, True, False, False]
    assert quota.of(peer(1000)) == 2
    assert quota.enter(peer(1001))
    quota.leave(peer(1000))
    assert quota.enter(peer(1000))


def test_root_and_the_daemons_user_have_a_larger_quota_each() -> None:
    """Services that run as one of them add up."""
    quota = ConnectionQuota(LIMITS, OWN)
    for uid in (0, OWN):
        assert [quota.enter(peer(uid)) for _ in range(4)] == [True, True, True, False]


def test_all_users_together_have_a_limit_too() -> None:
    """There are more users than descriptors, and the daemon needs some to reach DSM."""
    quota = ConnectionQuota(LIMITS, OWN)
    assert [quota.enter(peer(uid)) for uid in range(1000, 1008)] == [True] * 6 + [False] * 2
    quota.leave(peer(1000))
    assert quota.enter(peer(1008))


@given(st.lists(st.tuples(st.sampled_from((0, OWN, 1000, 1001, 1002)), st.booleans())))
def test_the_count_is_the_number_of_open_connections(steps: list[tuple[int, bool]]) -> None:
    """A count that drifts would close the socket to everyone, or lift its limit."""
    quota = ConnectionQuota(LIMITS, OWN)
    held: Counter[int] = Counter()
    for uid, coming in steps:
        share = LIMITS.operator_connections if uid in (0, OWN) else LIMITS.user_connections
        if coming:
            admitted = held[uid] < share and held.total() < LIMITS.all_connections
            assert quota.enter(peer(uid)) == admitted
            held[uid] += admitted
        elif held[uid]:
            quota.leave(peer(uid))
            held[uid] -= 1
        assert quota.of(peer(uid)) == held[uid]
