"""Tokens followed over restarts of the daemon, and turned into environments."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import pytest

from refresherd.cli.child.environments import AGAIN, renewed
from refresherd.cli.client.failures import (
    CommandError,
    NoDaemon,
    NotNow,
    NotPermitted,
    TimedOut,
    Unintelligible,
    UnknownApp,
)
from refresherd.cli.client.following import LONGEST_DELAY, follow

Stream = list[bytes | CommandError]


def line(token: str, expires_at: str = "2026-11-23T10:00:00Z", **more: object) -> bytes:
    """Return a line of the daemon's stream."""
    return json.dumps({"access_token": token, "expires_at": expires_at, **more}).encode() + b"\n"


class Follower:
    """Follows streams by a script; records what people are told, and the waits."""

    def __init__(self, *streams: Stream) -> None:
        self._streams = iter(streams)
        self.notices: list[str] = []
        self.waits: list[float] = []
        self.lines = follow(self._open, self.notices.append, self.waits.append)

    def _open(self) -> Iterator[bytes]:
        for item in next(self._streams):
            if isinstance(item, CommandError):
                raise item
            yield item


def test_each_token_is_told_as_it_comes() -> None:
    """That is all there is to it while the daemon is there."""
    follower = Follower([line("a"), line("b"), line("c")])
    assert list(islice(follower.lines, 3)) == [line("a"), line("b"), line("c")]
    assert follower.notices == []


def test_a_restart_of_the_daemon_is_waited_for_and_told_once() -> None:
    """A consumer goes on with the next token, and its log shows one line for the outage."""
    away = NoDaemon("nothing answers")
    follower = Follower([line("a")], [away], [away], [line("b")])
    assert list(islice(follower.lines, 2)) == [line("a"), line("b")]
    assert follower.notices == ["the daemon closed the connection; trying again"]
    assert follower.waits == [0.2, 0.4, 0.8]


def test_a_token_that_is_known_is_not_told_again() -> None:
    """A consumer would restart for nothing when it meets the same token after a reload."""
    follower = Follower([line("a", expires_in=9)], [line("a", expires_in=8), line("b")])
    assert list(islice(follower.lines, 2)) == [line("a", expires_in=9), line("b")]


def test_a_longer_life_of_the_same_token_is_news() -> None:
    """With keep-alive the token stays and its expiry moves."""
    longer = line("a", "2026-11-23T10:05:00Z")
    follower = Follower([line("a"), longer])
    assert list(islice(follower.lines, 2)) == [line("a"), longer]


def test_the_daemon_is_not_asked_in_a_hurry_for_ever() -> None:
    """An outage of hours must not keep a processor busy."""
    away: Stream = [NoDaemon("nothing answers")]
    follower = Follower([], *([away] * 12), [line("a")])
    assert next(follower.lines) == line("a")
    assert follower.waits[-1] == LONGEST_DELAY
    assert sum(follower.waits) > 40


def test_each_outage_is_told() -> None:
    """The second one is news again."""
    follower = Follower([line("a")], [line("b")], [line("c")])
    assert len(list(islice(follower.lines, 3))) == 3
    assert len(follower.notices) == 2
    assert follower.waits == [0.2, 0.2]


@pytest.mark.parametrize(
    "error", [NoDaemon("a"), TimedOut("b"), NotPermitted("c"), UnknownApp("d")]
)
def test_what_never_was_is_not_waited_for(error: CommandError) -> None:
    """A misspelt socket or app would otherwise look like a daemon without news."""
    with pytest.raises(type(error)):
        next(Follower([error]).lines)


@pytest.mark.parametrize("error", [NotPermitted("c"), UnknownApp("d")])
def test_a_refusal_ends_it_later_as_well(error: CommandError) -> None:
    """An app that was removed or withdrawn does not come back by itself."""
    follower = Follower([line("a")], [error])
    assert next(follower.lines) == line("a")
    with pytest.raises(type(error)):
        next(follower.lines)


def test_a_daemon_without_time_is_there() -> None:
    """Too many connections pass."""
    follower = Follower([NotNow("too many connections")], [NoDaemon("gone")], [line("a")])
    assert next(follower.lines) == line("a")
    assert follower.notices == ["too many connections; trying again"]


@pytest.mark.parametrize("junk", [b"{}\n", b"\n", b"[]\n", b"null\n", b"\xff\n", b"[" * 99_999])
def test_a_line_that_is_no_token_is_called_so(junk: bytes) -> None:
    """Passed on, it would be a consumer's problem."""
    with pytest.raises(Unintelligible, match="no token"):
        next(Follower([junk]).lines)


def current(*answers: str | CommandError) -> Callable[[], Mapping[str, str]]:
    """Return what asks the daemon for variables, answered by a script of tokens and errors."""
    script = iter(answers)

    def ask() -> Mapping[str, str]:
        answer = next(script)
        if isinstance(answer, CommandError):
            raise answer
        return {"FORTANIX_ACCESS_TOKEN": answer}

    return ask


def test_only_another_token_is_a_new_environment() -> None:
    """The stream begins with the token that the program has already."""
    waits: list[float] = []
    known = {"FORTANIX_ACCESS_TOKEN": "a"}
    found = list(renewed(range(4), current("a", "b", "b", "c"), known, waits.append))
    assert [variables["FORTANIX_ACCESS_TOKEN"] for variables in found] == ["b", "c"]
    assert waits == []


def test_a_daemon_that_goes_away_after_telling_is_asked_again() -> None:
    """Else a program would keep an old token until the next but one."""
    waits: list[float] = []
    answers = current(NoDaemon("x"), NotNow("y"), TimedOut("z"), "b")
    found = list(renewed([b""], answers, {"FORTANIX_ACCESS_TOKEN": "a"}, waits.append))
    assert found == [{"FORTANIX_ACCESS_TOKEN": "b"}]
    assert waits == [AGAIN] * 3


def test_a_refusal_ends_the_environments() -> None:
    """Who follows tells it, and the program goes on."""
    with pytest.raises(NotPermitted):
        list(renewed([b""], current(NotPermitted("x")), {"FORTANIX_ACCESS_TOKEN": "a"}, print))
