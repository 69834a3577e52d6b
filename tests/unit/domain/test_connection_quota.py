"""The quota of connections: a user who takes too many takes nobody else's."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.connection_quota import (
    DEFAULT_QUOTA,
    MAX_REMEMBERED,
    ConnectionQuota,
    Quota,
    Rank,
    Refusal,
    quota_for,
)

QUOTA = Quota(rank_connections=4, user_connections=2, arrivals_per_second=10, arrivals_at_once=5)


def test_a_full_quota_refuses_its_user_alone() -> None:
    """A client that opens connections without end must not lock out the host."""
    quota = ConnectionQuota(QUOTA)
    entered = [quota.enter(1000, Rank.OTHER) for _ in range(4)]
    assert entered == [None, None, Refusal.USER_CONNECTIONS, Refusal.USER_CONNECTIONS]
    assert quota.enter(1001, Rank.OTHER) is None
    quota.leave(1000, Rank.OTHER)
    assert quota.enter(1000, Rank.OTHER) is None


def test_each_rank_has_places_of_its_own() -> None:
    """However many users there are, root and the daemon's user get through."""
    quota = ConnectionQuota(QUOTA)
    others = [quota.enter(uid, Rank.OTHER) for uid in range(1000, 1006)]
    assert others == [None] * 4 + [Refusal.ALL_CONNECTIONS] * 2
    for uid, rank in ((0, Rank.ROOT), (900, Rank.OWN)):
        entered = [quota.enter(uid, rank) for _ in range(5)]
        assert entered == [None] * 4 + [Refusal.ALL_CONNECTIONS]


def test_a_user_may_not_arrive_too_often() -> None:
    """Arrivals cost the daemon time, however short they stay; a pause makes up for them."""
    quota = ConnectionQuota(QUOTA)
    arrived = [quota.arrive(1000, 0.0) for _ in range(7)]
    assert arrived == [None] * 5 + [Refusal.USER_ARRIVALS] * 2
    assert quota.arrive(1001, 0.0) is None
    assert quota.arrive(1000, 0.11) is None
    assert quota.arrive(1000, 0.11) is Refusal.USER_ARRIVALS
    assert [quota.arrive(1000, 9.0) for _ in range(5)] == [None] * 5


def test_quiet_users_are_forgotten() -> None:
    """A person may have 65,536 uids, and each that ever came would stay in memory."""
    quota = ConnectionQuota(QUOTA)
    for uid in range(10 * MAX_REMEMBERED):
        quota.arrive(uid, float(uid))
    assert len(quota._arrivals) <= MAX_REMEMBERED  # what is remembered cannot be seen otherwise


@given(
    st.lists(
        st.tuples(st.sampled_from([1000, 1001, 1002]), st.sampled_from(["enter", "leave"])),
        max_size=60,
    )
)
def test_places_are_neither_lost_nor_made(steps: list[tuple[int, str]]) -> None:
    """A place that is lost would be missing until the next restart."""
    quota, model = ConnectionQuota(QUOTA), Counter[int]()
    for uid, step in steps:
        if step == "enter":
            free = model[uid] < QUOTA.user_connections and model.total() < QUOTA.rank_connections
            assert (quota.enter(uid, Rank.OTHER) is None) == free
            model[uid] += free
        elif model[uid]:
            quota.leave(uid, Rank.OTHER)
            model[uid] -= 1


@given(st.integers(8, 10**6))
def test_half_of_the_descriptors_are_left_for_other_work(descriptors: int) -> None:
    """Otherwise clients could take those that writing a token needs."""
    quota = quota_for(descriptors)
    assert quota.rank_connections * len(Rank) <= max(descriptors // 2, 12)
    assert 1 <= quota.user_connections <= max(1, quota.rank_connections // 4)


def test_without_a_limit_on_descriptors_the_quota_is_the_default() -> None:
    """No limit must not count as a limit of none."""
    assert quota_for(None) == DEFAULT_QUOTA
    assert quota_for(10**6) == DEFAULT_QUOTA
