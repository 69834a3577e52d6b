"""Names in the fd store: all of them have to fit one variable of the next run's environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.state.fd_names import MOST, Names, is_session
from refresherd.domain.errors import OutputError

LONGEST_VARIABLE = 128 * 1024
"""MAX_ARG_STRLEN of execve(2): its name, its value and a byte of zero."""

SOCKETS = "api:" * 1000
"""Room for the names of sockets."""


def taken(names: Names, number: int) -> list[str]:
    """Return so many names, all in use."""
    found = []
    for _ in range(number):
        found.append(names.free())
        names.take(found[-1])
    return found


def test_the_names_of_all_sessions_reach_the_next_run() -> None:
    """With longer ones a daemon of two thousand apps could not be started any more once it ends."""
    names = Names()
    given_out = taken(names, MOST)
    assert len(set(given_out)) == MOST
    assert all(map(is_session, given_out))
    assert len(f"LISTEN_FDNAMES={SOCKETS}{':'.join(given_out)}") < LONGEST_VARIABLE
    assert names.exhausted
    with pytest.raises(OutputError, match="can pass on no more"):
        names.free()
    names.release(given_out[7])
    assert names.free() not in given_out[:7] + given_out[8:]


@given(st.lists(st.integers(0, 40)))
def test_no_name_stands_for_two_sessions(releases: list[int]) -> None:
    """The one would be removed with the other."""
    names = Names()
    used = taken(names, 20)
    for one in releases:
        if one < len(used):
            names.release(used.pop(one))
        used += taken(names, 1)
        assert len(set(used)) == len(used)


@pytest.mark.parametrize(
    "name", ["", "api", "s.", "s.a", "s.abcd", "s.a-b", "refresherd-api.socket"]
)
def test_a_socket_is_not_taken_for_a_session(name: str) -> None:
    """It would be closed, and its clients be turned away."""
    assert not is_session(name)
