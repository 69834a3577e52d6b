"""Tokens as environment variables: the `env` format, and the tokens that follow."""

import os
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.cli.child.environment import RETRY, new_variables, parse_env
from refresherd.cli.errors import (
    CommandError,
    InvalidResponse,
    NoDaemon,
    NotPermitted,
    TimedOut,
    Unavailable,
)
from refresherd.domain.formats import Answer, render
from refresherd.domain.model import Format

VALUE = st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=["Cs"]), min_size=1)


def answer(token: str, endpoint: str) -> Answer:
    """Return a token as the daemon sends it."""
    return Answer("payments", token, 60.0, 1e9, 1e9 - 60, 1, "", endpoint)


@given(VALUE, VALUE)
def test_the_daemons_format_is_parsed(token: str, endpoint: str) -> None:
    """Any value without a line break survives, spaces, quotes and equals signs included."""
    assert parse_env(render(answer(token, endpoint), Format.ENV)) == {
        "FORTANIX_API_ENDPOINT": endpoint,
        "FORTANIX_ACCESS_TOKEN": token,
        "FORTANIX_TOKEN_EXPIRES_AT": "2001-09-09T01:46:40Z",
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
