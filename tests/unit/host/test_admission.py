"""Whose places a connection takes, and who is reported when there are none."""

import socket
from pathlib import Path

import pytest

from refresherd.domain.access import OVERFLOW_ID
from refresherd.domain.connection_quota import Quota, Rank, Refusal
from refresherd.domain.events import ConnectionRejected
from refresherd.host.admission import Admission
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
