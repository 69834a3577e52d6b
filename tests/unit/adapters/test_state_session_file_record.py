"""A session file's content: it comes back as it went in, and nothing else is taken for one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.state.session_file_record import LONGEST, parsed, written
from refresherd.domain.model import Instant, Secret, Token
from support.fakes import ENTITY_ID

URL = "https://amer.smartkey.io"
FIELDS = {"endpoint": URL, "bootstrap_sha256": "00", "access_token": "tUk3wMZ-0_x"}


def token(text: str = "tUk3wMZ-0_x") -> Token:
    """Return a token."""
    return Token(Secret(text), ENTITY_ID, 7, Instant(1000.0), 600.0, Instant(1600.0))


@given(st.from_regex(r"[A-Za-z0-9._~+/-]{1,99}=*", fullmatch=True), st.text())
def test_what_was_written_is_read(text: str, endpoint: str) -> None:
    """Whatever DSM takes for a token."""
    record = parsed(written(token(text), endpoint, "origin", 1_700_000_000.0))
    assert (record.endpoint, record.origin) == (endpoint, "origin")
    assert record.access_token == Secret(text)


def test_people_are_told_what_it_is() -> None:
    """An operator who finds the file asks whose it is, and whether it is any good still."""
    message = json.loads(written(token(), URL, "", 1_700_000_000.9))
    assert (message["entity_id"], message["expires_at"]) == (ENTITY_ID, "2023-11-14T22:13:20Z")


def test_a_fingerprint_tells_bootstraps_apart_and_gives_none_away() -> None:
    """The file says only where its session comes from."""
    one, other = Secret("one").fingerprint(), Secret("other").fingerprint()
    assert one != other
    assert one == Secret("one").fingerprint()
    assert "one" not in one


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is no JSON"),
        (b"\x00" * 512, "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[" * 50_000, "it is no JSON"),
        (b"{}", "it has no access_token"),
        (b"[]", "it has no access_token"),
        (json.dumps(FIELDS | {"access_token": None}).encode(), "it has no access_token"),
        (json.dumps(FIELDS | {"access_token": "a\nb"}).encode(), "is no bearer token"),
        (json.dumps(FIELDS | {"endpoint": 1}).encode(), "it has no endpoint"),
        (json.dumps({**FIELDS, "bootstrap_sha256": []}).encode(), "it has no bootstrap_sha256"),
        (json.dumps(FIELDS).encode().ljust(LONGEST + 1), f"it has over {LONGEST} bytes"),
    ],
)
def test_what_is_no_session_is_refused(raw: bytes, why: str) -> None:
    """What would break a request's header must never get into one."""
    with pytest.raises(ValueError, match=why) as caught:
        parsed(raw)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(r'\{"access_token":.*')))
def test_garbage_is_refused_without_a_bug(garbage: bytes | str) -> None:
    """A disk may hold anything after a crash."""
    raw = garbage.encode(errors="replace") if isinstance(garbage, str) else garbage
    with pytest.raises(ValueError, match=r"^it"):
        parsed(raw)
