"""Tokens as they are issued: the stream across restarts of the daemon, and the `env` format."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.cli.client.token_stream import (
    MAX_DELAY,
    RETRY,
    follow_tokens,
    new_variables,
    parse_env,
)
from refresherd.cli.errors import (
    CommandError,
    InvalidResponse,
    NoDaemon,
    NotPermitted,
    TimedOut,
    Unavailable,
    UsageError,
)
from refresherd.domain.formats import render_token
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Format, Instant, Secret, Token

Stream = list[bytes | CommandError]

VALUE = st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=["Cs"]), min_size=1)


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
    "error", [NoDaemon("a"), TimedOut("b"), NotPermitted("c"), UsageError("d")]
)
def test_an_error_before_the_first_connection_ends_the_stream(error: CommandError) -> None:
    """Otherwise a misspelt socket or app would look like a daemon without new tokens."""
    with pytest.raises(type(error)):
        next(Follower([error]).lines)


@pytest.mark.parametrize("error", [NotPermitted("c"), UsageError("d")])
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


def answer(access_token: str, endpoint: str) -> bytes:
    """Return a token as the daemon sends it."""
    app = App("payments", Endpoint(endpoint), ApiKeyEnv("KEY"))
    token = Token(Secret(access_token), "", 1, Instant(1e9 - 60), 60.0, Instant(1e9))
    return render_token(app, token, Format.ENV, Instant(1e9 - 60), float)


@given(VALUE, VALUE)
def test_the_daemons_format_is_parsed(token: str, endpoint: str) -> None:
    """Any value without a line break reaches the program byte for byte, in every locale."""
    variables = parse_env(answer(token, endpoint))
    assert {name: os.fsencode(value) for name, value in variables.items()} == {
        "FORTANIX_API_ENDPOINT": endpoint.encode(),
        "FORTANIX_ACCESS_TOKEN": token.encode(),
        "FORTANIX_TOKEN_EXPIRES_AT": b"2001-09-09T01:46:40Z",
    }


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"FORTANIX_ACCESS_TOKEN=abc",
        b"FORTANIX_ACCESS_TOKEN=\n",
        b"FORTANIX_API_ENDPOINT=x\n",
        b"FORTANIX_ACCESS_TOKEN=abc\n\n",
        b"FORTANIX_ACCESS_TOKEN=abc\nFORTANIX_ACCESS_TOKEN=def\n",
        b"FORTANIX_ACCESS_TOKEN=a\0b\n",
        b"FORTANIX_ACCESS_TOKEN\n",
        b"LD_PRELOAD=/tmp/x.so\nFORTANIX_ACCESS_TOKEN=abc\n",
        b"export FORTANIX_ACCESS_TOKEN=abc\n",
    ],
)
def test_any_deviation_from_the_format_is_an_error(text: bytes) -> None:
    """A program must not start with half an environment, or with smuggled variables."""
    with pytest.raises(InvalidResponse, match="`env` format"):
        parse_env(text)


@given(st.binary(max_size=100))
def test_any_bytes_are_variables_or_an_error(text: bytes) -> None:
    """What is accepted can be put into an environment, byte for byte."""
    for candidate in (text, b"FORTANIX_ACCESS_TOKEN=" + text + b"\n"):
        try:
            variables = parse_env(candidate)
        except InvalidResponse:
            continue
        lines = b"".join(
            os.fsencode(key) + b"=" + os.fsencode(value) + b"\n" for key, value in variables.items()
        )
        assert lines == candidate
        assert all(key.startswith("FORTANIX_") for key in variables)


def fetching(*answers: str | CommandError) -> Callable[[], Mapping[str, str]]:
    """Return a function that fetches variables from a script of tokens and errors."""
    script = iter(answers)

    def fetch() -> Mapping[str, str]:
        answer = next(script)
        if isinstance(answer, CommandError):
            raise answer
        return {"FORTANIX_ACCESS_TOKEN": answer}

    return fetch


def test_only_a_different_token_is_a_new_environment() -> None:
    """The stream begins with the token that the program already has."""
    waits: list[float] = []
    current = {"FORTANIX_ACCESS_TOKEN": "a"}
    found = list(new_variables(range(4), fetching("a", "b", "b", "c"), current, waits.append))
    assert [variables["FORTANIX_ACCESS_TOKEN"] for variables in found] == ["b", "c"]
    assert waits == []


def test_fetching_is_repeated_if_the_daemon_goes_away() -> None:
    """Otherwise the program would keep its old token until the next announcement."""
    waits: list[float] = []
    answers = fetching(NoDaemon("x"), Unavailable("y"), TimedOut("z"), "b")
    found = list(new_variables([b""], answers, {"FORTANIX_ACCESS_TOKEN": "a"}, waits.append))
    assert found == [{"FORTANIX_ACCESS_TOKEN": "b"}]
    assert waits == [RETRY] * 3


def test_a_refusal_ends_the_environments() -> None:
    """The caller reports it, and the program goes on."""
    with pytest.raises(NotPermitted):
        list(
            new_variables([b""], fetching(NotPermitted("x")), {"FORTANIX_ACCESS_TOKEN": "a"}, print)
        )
