"""What the fd store holds of a session: it comes back as it went in, and nothing else does."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.state.fd_store_record import (
    LONGEST,
    parsed,
    recorded,
    source_fingerprint,
    written,
)
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyFile,
    App,
    Credential,
    Endpoint,
    Instant,
    Secret,
    Token,
)
from support.fakes import API_KEY, ENTITY_ID

APP = App("payments", Endpoint("https://amer.smartkey.io"), ApiKeyFile(Path("payments.key")))
TOKEN = Token(Secret("tUk3wMZ-0_x"), ENTITY_ID, 7, Instant(1000.25), 600.0, Instant(1600.25))
RECORD = recorded(APP, TOKEN, Secret(API_KEY).fingerprint(), "boot")
FIELDS = json.loads(written(RECORD))

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.from_regex(r"[A-Za-z0-9._~+/-]{1,99}=*", fullmatch=True),
    st.integers(1, 10**9),
    st.floats(0, 1e9),
    st.floats(0.001, 4_294_967_295),
)
def test_what_was_written_is_read(text: str, generation: int, at: float, lifetime: float) -> None:
    """To the last digit: an instant that moved would shift a refresh with each restart."""
    token = Token(Secret(text), "", generation, Instant(at), lifetime, Instant(at + lifetime))
    record = recorded(APP, token, "fingerprint", "boot")
    assert parsed(written(record)) == record


def test_no_key_is_written_and_only_the_token_is_a_secret() -> None:
    """Who can read the store has the session, but must not have what it was got by."""
    text = written(RECORD).decode()
    assert API_KEY not in text
    assert text.count("tUk3wMZ-0_x") == 1
    assert "tUk3wMZ-0_x" not in repr(RECORD)


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_refused(raw: bytes) -> None:
    """Whatever was put there, a traceback would keep the daemon from starting, time and again."""
    with suppress(ValueError):
        parsed(raw)


@given(st.sampled_from(sorted(FIELDS)), JSON)
def test_no_field_is_taken_for_what_it_is_not(name: str, value: Any) -> None:  # noqa: ANN401  # JSON
    """Each is used later by somebody who relies on its kind."""
    with suppress(ValueError):
        record = parsed(json.dumps({**FIELDS, name: value}).encode())
        assert parsed(written(record)) == record
        assert record.token.generation >= 1
        assert record.token.lifetime > 0
        assert record.token.expires_at == record.token.expires_at, "not a number"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is no JSON"),
        (b"[" * 50_000, "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b"{}", "it has no app"),
        (b"x" * (LONGEST + 1), f"it has over {LONGEST} bytes"),
        (json.dumps(FIELDS | {"access_token": "a\nb"}).encode(), "is no bearer token"),
        (json.dumps(FIELDS | {"generation": 0}).encode(), "its generation is no count"),
        (json.dumps(FIELDS | {"generation": 1.5}).encode(), "its generation is no count"),
        (json.dumps(FIELDS | {"generation": True}).encode(), "it has no generation"),
        (json.dumps(FIELDS | {"lifetime": 0}).encode(), "its lifetime is none"),
        (json.dumps(FIELDS | {"expires_at": 10**400}).encode(), "it has no expires_at"),
        (json.dumps(FIELDS | {"expires_at": float("nan")}).encode(), "expires_at is no number"),
    ],
)
def test_what_is_no_session_is_refused_without_being_quoted(raw: bytes, why: str) -> None:
    """The line about it goes to the log, and half a record may hold a whole token."""
    with pytest.raises(ValueError, match=why) as refused:
        parsed(raw)
    assert "tUk3" not in str(refused.value)


def test_a_source_is_told_from_any_other() -> None:
    """Another path may hold another app's key."""
    sources: list[Credential] = [
        ApiKeyFile(Path("a")),
        ApiKeyFile(Path("b")),
        ApiKeyCommand(("a",)),
    ]
    assert len({source_fingerprint(source) for source in sources}) == 3
