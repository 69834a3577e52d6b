"""Tokens as answers: always of this moment."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from refresherd.adapters.api.rendering import Renderings
from refresherd.domain import session_state
from refresherd.domain.model import (
    ApiKeyFile,
    App,
    Endpoint,
    Format,
    Grant,
    Secret,
    Timing,
    Token,
)
from support.fakes import FakeClock, grants

TIMING = Timing(at=0.6)
APP = App("payments", Endpoint("https://amer.smartkey.io"), ApiKeyFile(Path("key")), TIMING)
FIRST, SECOND = islice(grants(), 2)


def token(grant: Grant, clock: FakeClock) -> Token:
    """Return a token that has just been issued."""
    now = clock.now()
    session = session_state.granted(session_state.begin(now), grant, now, Timing(), 0.0)
    assert session.token is not None
    return session.token


def read(content: bytes) -> tuple[str, int]:
    """Return the token and its remaining seconds, as consumers read them."""
    fields = json.loads(content)
    return fields["access_token"], fields["expires_in"]


def test_the_remaining_seconds_are_up_to_date() -> None:
    """A consumer that trusts `expires_in` must never use a token for too long."""
    clock = FakeClock()
    renderings, held = Renderings(clock), token(FIRST, clock)
    seen = []
    for _ in range(5):
        seen.append(read(renderings.of(APP, held, Format.JSON, clock.now()).body))
        clock.advance(0.5)
    assert seen == [("token-1", left) for left in (600, 599, 599, 598, 598)]


def test_a_new_token_replaces_the_cached_one_at_once() -> None:
    """The old token may have been terminated already."""
    clock = FakeClock()
    renderings = Renderings(clock)
    assert read(renderings.of(APP, token(FIRST, clock), Format.JSON, clock.now()).body) == (
        "token-1",
        600,
    )
    assert read(renderings.of(APP, token(SECOND, clock), Format.JSON, clock.now()).body) == (
        "token-2",
        600,
    )


def test_apps_and_formats_are_cached_separately() -> None:
    """A mix-up would break consumers, or hand a token to those of another app."""
    clock = FakeClock()
    renderings = Renderings(clock)
    other = replace(APP, name="ledger")
    tokens = {APP: token(FIRST, clock), other: token(SECOND, clock)}
    for _ in range(2):
        assert renderings.of(APP, tokens[APP], Format.RAW, clock.now()).body == b"token-1"
        assert renderings.of(other, tokens[other], Format.RAW, clock.now()).body == b"token-2"
        header = renderings.of(APP, tokens[APP], Format.HEADER, clock.now()).body
        assert header == b"Authorization: Bearer token-1\n"


def test_a_stepped_clock_is_followed_within_a_second() -> None:
    """The dates are for people and programs that compare them with the wall clock."""
    clock = FakeClock()
    renderings, held = Renderings(clock), token(FIRST, clock)
    before = json.loads(renderings.of(APP, held, Format.JSON, clock.now()).body)["expires_at"]
    clock.offset += 3600
    clock.advance(1.0)
    after = json.loads(renderings.of(APP, held, Format.JSON, clock.now()).body)["expires_at"]
    assert (before[11:13], after[11:13]) == ("22", "23")


def test_the_cache_is_bounded() -> None:
    """Ten thousand apps in five formats each would be 25 MB of tokens that nobody uses."""
    clock = FakeClock()
    renderings = Renderings(clock, max_cached=2)
    held = token(FIRST, clock)
    for number in range(5):
        app = replace(APP, name=f"app-{number}")
        assert (
            json.loads(renderings.of(app, held, Format.JSON, clock.now()).body)["app"] == app.name
        )
    # The size of the cache is visible only as memory.
    assert len(renderings._cached) <= 2


def test_the_cache_does_not_print_a_token() -> None:
    """A traceback with local variables must not show it."""
    clock = FakeClock()
    renderings = Renderings(clock)
    secret = replace(FIRST, access_token=Secret("hunter2"))
    renderings.of(APP, token(secret, clock), Format.RAW, clock.now())
    # Only a traceback would show the cache.
    assert "hunter2" not in repr(renderings._cached)


@pytest.mark.parametrize("form", Format)
def test_caches_may_not_store_an_answer_with_a_token(form: Format) -> None:
    """RFC 9111: else a proxy in between might give it to somebody else."""
    clock = FakeClock()
    answer = Renderings(clock).of(APP, token(FIRST, clock), form, clock.now())
    whole = answer.to_bytes(None, b"", closing=True)
    assert b"\r\nCache-Control: no-store\r\n" in whole
    wanted = b"application/json" if form is Format.JSON else b"text/plain; charset=utf-8"
    assert b"\r\nContent-Type: " + wanted + b"\r\n" in whole
