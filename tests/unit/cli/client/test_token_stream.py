"""A stream of tokens that survives restarts of the daemon."""

import json
from collections.abc import Iterator
from itertools import islice

import pytest

from refresherd.cli.client.token_stream import MAX_DELAY, follow_tokens
from refresherd.cli.errors import (
    BadRequest,
    CommandError,
    InvalidResponse,
    NoDaemon,
    NotPermitted,
    TimedOut,
    Unavailable,
)

Stream = list[bytes | CommandError]


def line(token: str, expires_at: str = "2026-11-23T10:00:00Z", **more: object) -> bytes:
    """Return a line of the daemon's stream."""
    return json.dumps({"access_token": token, "expires_at": expires_at, **more}).encode() + b"\n"


class Follower:
    """Follows scripted streams; records the notices and the waits."""

    def __init__(self, *streams: Stream) -> None:
        self._streams = iter(streams)
        self.notices: list[str] = []
        self.waits: list[float] = []
        self.lines = follow_tokens(self._open, self.notices.append, self.waits.append)

    def _open(self) -> Iterator[bytes]:
        for item in next(self._streams):
            if isinstance(item, CommandError):
                raise item
            yield item


def test_each_token_is_yielded() -> None:
    """While the daemon runs there is nothing else to do."""
    follower = Follower([line("a"), line("b"), line("c")])
    assert list(islice(follower.lines, 3)) == [line("a"), line("b"), line("c")]
    assert follower.notices == []


def test_a_restart_of_the_daemon_causes_one_notice() -> None:
    """A consumer goes on with the next token, and its log shows one line for the outage."""
    away = NoDaemon("nothing answers")
    follower = Follower([line("a")], [away], [away], [line("b")])
    assert list(islice(follower.lines, 2)) == [line("a"), line("b")]
    assert follower.notices == ["the daemon closed the connection; trying again"]
    assert follower.waits == [0.2, 0.4, 0.8]


def test_the_same_token_is_yielded_only_once() -> None:
    """A consumer must not restart for a token that it already has."""
    follower = Follower([line("a", expires_in=9)], [line("a", expires_in=8), line("b")])
    assert list(islice(follower.lines, 2)) == [line("a", expires_in=9), line("b")]


def test_a_new_expiry_of_the_same_token_is_yielded() -> None:
    """With keep-alive the token stays the same and its expiry moves."""
    longer = line("a", "2026-11-23T10:05:00Z")
    follower = Follower([line("a"), longer])
    assert list(islice(follower.lines, 2)) == [line("a"), longer]


def test_attempts_to_reconnect_become_rare() -> None:
    """An outage of hours must not keep a processor busy."""
    away: Stream = [NoDaemon("nothing answers")]
    follower = Follower([], *([away] * 12), [line("a")])
    assert next(follower.lines) == line("a")
    assert follower.waits[-1] == MAX_DELAY
    assert sum(follower.waits) > 40


def test_each_outage_causes_a_notice() -> None:
    """The second outage is news as well."""
    follower = Follower([line("a")], [line("b")], [line("c")])
    assert len(list(islice(follower.lines, 3))) == 3
    assert len(follower.notices) == 2
    assert follower.waits == [0.2, 0.2]


@pytest.mark.parametrize(
    "error", [NoDaemon("a"), TimedOut("b"), NotPermitted("c"), BadRequest("d")]
)
def test_an_error_before_the_first_connection_ends_the_stream(error: CommandError) -> None:
    """Otherwise a misspelt socket or app would look like a daemon without new tokens."""
    with pytest.raises(type(error)):
        next(Follower([error]).lines)


@pytest.mark.parametrize("error", [NotPermitted("c"), BadRequest("d")])
def test_a_refusal_ends_the_stream_later_too(error: CommandError) -> None:
    """An app that was removed, or a withdrawn permission, does not come back by itself."""
    follower = Follower([line("a")], [error])
    assert next(follower.lines) == line("a")
    with pytest.raises(type(error)):
        next(follower.lines)


def test_an_overloaded_daemon_counts_as_connected() -> None:
    """Having too many connections is temporary, so the stream waits."""
    follower = Follower([Unavailable("too many connections")], [NoDaemon("gone")], [line("a")])
    assert next(follower.lines) == line("a")
    assert follower.notices == ["too many connections; trying again"]


@pytest.mark.parametrize("junk", [b"{}\n", b"\n", b"[]\n", b"null\n", b"\xff\n", b"[" * 99_999])
def test_a_line_that_is_not_a_token_is_an_error(junk: bytes) -> None:
    """If passed on, it would be the consumer's problem."""
    with pytest.raises(InvalidResponse, match="not a token"):
        next(Follower([junk]).lines)
