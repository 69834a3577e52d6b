"""Tokens as bodies: of this very moment, however often they are asked for."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from refresherd.adapters.api import rendering
from refresherd.adapters.api.rendering import OF_A_TOKEN, Renderings
from refresherd.domain import session_state
from refresherd.domain.model import ApiKeyFile, App, Endpoint, Format, Grant, Secret, Timing, Token
from support.fakes import FakeClock, grants

APP = App("payments", Endpoint("https://amer.smartkey.io"), ApiKeyFile(Path("key")))
FIRST, SECOND = islice(grants(), 2)


def token(grant: Grant, clock: FakeClock) -> Token:
    """Return a token that was just issued."""
    now = clock.now()
    session = session_state.granted(session_state.begin(now), grant, now, Timing(), 0.0)
    assert session.token is not None
    return session.token


def message(content: bytes) -> tuple[str, int]:
    """Return the token and its rest of life that consumers read."""
    fields = json.loads(content)
    return fields["access_token"], fields["expires_in"]


def test_each_second_is_told_anew() -> None:
    """A consumer that trusts `expires_in` must never be told more than there is."""
    clock = FakeClock()
    renderings, held = Renderings(clock), token(FIRST, clock)
    seen = []
    for _ in range(5):
        seen.append(message(renderings.of(APP, held, Format.JSON)))
        clock.advance(0.5)
    assert seen == [("token-1", left) for left in (600, 599, 599, 598, 598)]


def test_a_new_token_is_told_at_once() -> None:
    """The one before it may be dead already."""
    clock = FakeClock()
    renderings = Renderings(clock)
    assert message(renderings.of(APP, token(FIRST, clock), Format.JSON)) == ("token-1", 600)
    assert message(renderings.of(APP, token(SECOND, clock), Format.JSON)) == ("token-2", 600)


def test_neither_apps_nor_formats_are_mixed_up() -> None:
    """Each would break its consumer, or hand a token to another app's."""
    clock = FakeClock()
    renderings = Renderings(clock)
    other = replace(APP, name="ledger")
    tokens = {APP: token(FIRST, clock), other: token(SECOND, clock)}
    for _ in range(2):
        assert renderings.of(APP, tokens[APP], Format.RAW) == b"token-1"
        assert renderings.of(other, tokens[other], Format.RAW) == b"token-2"
        header = renderings.of(APP, tokens[APP], Format.HEADER)
        assert header == b"Authorization: Bearer token-1\n"


def test_a_stepped_clock_is_followed_within_a_second() -> None:
    """The dates are for people and programs that look at the wall clock."""
    clock = FakeClock()
    renderings, held = Renderings(clock), token(FIRST, clock)
    before = json.loads(renderings.of(APP, held, Format.JSON))["expires_at"]
    clock.offset += 3600
    clock.advance(1.0)
    after = json.loads(renderings.of(APP, held, Format.JSON))["expires_at"]
    assert (before[11:13], after[11:13]) == ("22", "23")


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand apps in five formats each would be 25 MB of tokens to nobody's use."""
    monkeypatch.setattr(rendering, "MOST_KEPT", 2)
    clock = FakeClock()
    renderings = Renderings(clock)
    held = token(FIRST, clock)
    for number in range(5):
        app = replace(APP, name=f"app-{number}")
        assert json.loads(renderings.of(app, held, Format.JSON))["app"] == app.name
    # How much is kept shows outside only as memory.
    assert len(renderings._newest) <= 2


def test_what_is_kept_does_not_print_a_token() -> None:
    """A traceback with local variables must not show it."""
    clock = FakeClock()
    renderings = Renderings(clock)
    secret = replace(FIRST, access_token=Secret("hunter2"))
    renderings.of(APP, token(secret, clock), Format.RAW)
    # As above.
    assert "hunter2" not in repr(renderings._newest)


@pytest.mark.parametrize("form", Format)
def test_no_answer_with_a_token_may_be_stored(form: Format) -> None:
    """A caching proxy in between would hand it to the next who asks."""
    assert OF_A_TOKEN[form]["Cache-Control"] == "no-store"
    wanted = "application/json" if form is Format.JSON else "text/plain; charset=utf-8"
    assert OF_A_TOKEN[form]["Content-Type"] == wanted
