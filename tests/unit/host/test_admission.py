"""Whose places a connection takes, and who is reported when there are none."""

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.access import OVERFLOW_ID
from refresherd.domain.connection_quota import Quota, Rank, Refusal
from refresherd.domain.events import ConnectionRejected
from refresherd.host.admission import Admission
from refresherd.host.stream import Stream
from support.api_place import eventually
from support.fakes import RecordingObserver

EVERYBODY = "0 0 4294967295\n"
SOME = "0 100000 65536\n"


def proc(root: Path, uids: str) -> Path:
    """Make a /proc of a user namespace with these users."""
    (root / "self").mkdir()
    (root / "self" / "uid_map").write_text(uids)
    return root


@pytest.mark.parametrize("own_uid", [0, 1000, OVERFLOW_ID])
def test_root_and_the_daemons_user_have_places_of_their_own(tmp_path: Path, own_uid: int) -> None:
    """Whatever number that user has, on a host where each number stands for one user."""
    admission = Admission(RecordingObserver(), own_uid=own_uid, proc=proc(tmp_path, EVERYBODY))
    assert admission.rank(0) is Rank.ROOT
    assert admission.rank(own_uid) is (Rank.OWN if own_uid else Rank.ROOT)
    assert admission.rank(1234) is Rank.OTHER


@pytest.mark.parametrize(("own_uid", "rank"), [(1000, Rank.OWN), (OVERFLOW_ID, Rank.OTHER)])
def test_strangers_take_no_places_of_the_daemons_user(
    tmp_path: Path, own_uid: int, rank: Rank
) -> None:
    """In a namespace where users have no number, all of them look like the user 65534."""
    admission = Admission(RecordingObserver(), own_uid=own_uid, proc=proc(tmp_path, SOME))
    assert admission.rank(own_uid) is rank
    assert admission.rank(OVERFLOW_ID) is Rank.OTHER
    assert admission.rank(0) is Rank.ROOT


async def test_the_log_names_who_is_refused_now() -> None:
    """An administrator ends that user's processes, and not those of whoever began a burst."""
    observer = RecordingObserver()
    admission = Admission(observer, Quota(user_connections=0), own_uid=1000)
    for user in (1234, 1235):
        with socket.socket() as connection:
            assert admission.admit(connection, user, "api") is Refusal.USER_CONNECTIONS
    await eventually(lambda: len(observer.events) == 2)
    reason = Refusal.USER_CONNECTIONS
    assert observer.events == [
        ConnectionRejected("api", reason, "1234", 1),
        ConnectionRejected("api", reason, "1235", 1),
    ]


class Crowd:
    """Connections of several users to one admission, whose other ends stay open."""

    def __init__(self, places: int, each: int) -> None:
        quota = Quota(rank_connections=places, user_connections=each)
        self.admission = Admission(RecordingObserver(), quota, own_uid=900)
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self._ends.close()

    def come(self, user: int) -> Stream | Refusal:
        """Let a user connect."""
        ours, theirs = socket.socketpair()
        self._ends.callback(theirs.close)
        self._ends.callback(ours.close)
        return self.admission.admit(ours, user, "api")

    def admitted(self, user: int) -> Stream:
        """Let a user connect who gets a place."""
        stream = self.come(user)
        assert isinstance(stream, Stream)
        return stream


async def test_the_user_with_the_most_connections_makes_room() -> None:
    """Whoever has just connected must not lose to attackers who keep their connections busy."""
    with Crowd(places=6, each=4) as crowd:
        many = [crowd.admitted(1000) for _ in range(4)]
        few = [crowd.admitted(1001) for _ in range(2)]
        many[0].idle(1.0)  # it has been answered since
        crowd.admitted(1002)
        assert [one.closed for one in many] == [False, True, False, False]
        assert not any(one.closed for one in few)


async def test_connections_that_wait_for_the_daemon_make_room_last() -> None:
    """They make room all the same, or four users who wait would shut out all others."""
    with Crowd(places=4, each=4) as crowd:
        waiting = [crowd.admitted(1000) for _ in range(4)]
        for one in waiting[:3]:
            one.busy()
        crowd.admitted(1001)
        assert [one.closed for one in waiting] == [False, False, False, True]
        crowd.admitted(1001)
        assert [one.closed for one in waiting] == [True, False, False, True]


async def test_users_with_as_many_connections_take_none_from_each_other() -> None:
    """Otherwise attackers could keep the daemon busy with closing each other's connections."""
    with Crowd(places=4, each=4) as crowd:
        held = [crowd.admitted(user) for user in (1000, 1000, 1001, 1001)]
        assert crowd.come(1001) is Refusal.ALL_CONNECTIONS
        assert not any(one.closed for one in held)


async def test_root_loses_idle_connections_of_its_own_alone() -> None:
    """An administrator who waits for a token must not lose it to another of root's programs."""
    with Crowd(places=2, each=2) as crowd:
        other, first, second = (crowd.admitted(user) for user in (1000, 0, 0))
        second.busy()
        third = crowd.admitted(0)
        assert [first.closed, second.closed, other.closed] == [True, False, False]
        third.busy()
        assert crowd.come(0) is Refusal.ALL_CONNECTIONS


@given(st.lists(st.sampled_from([1000, 1001, 1002, 1003, 0, 900]), max_size=60))
def test_nobody_is_refused_a_fair_share(users: list[int]) -> None:
    """Whatever others do, a user who has less than an equal share of the places gets another."""

    async def come_all() -> None:
        held = {user: list[Stream]() for user in users}
        with Crowd(places=9, each=4) as crowd:
            for user in users:
                mine = [one for one in held[user] if not one.closed]
                came = crowd.come(user)
                if isinstance(came, Stream):
                    held[user] = [*mine, came]
                elif user not in {0, 900}:
                    present = {one for one in held if any(not it.closed for it in held[one])}
                    assert len(mine) >= min(4, 9 // len(present | {user}))

    asyncio.run(come_all())
