"""A session file's content: it is read as it was written, and nothing else is taken for one."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.state.session_file import MAX_SESSION_BYTES, FileRecord, decode, encode
from refresherd.domain.model import Secret
from support.fakes import ENTITY_ID

URL = "https://amer.smartkey.io"
FIELDS = {"endpoint": URL, "bootstrap_sha256": "00", "access_token": "tUk3wMZ-0_x"}

EARLIER_VERSION = b"""{
 "endpoint": "https://amer.smartkey.io",
 "bootstrap_sha256": "00",
 "access_token": "tUk3wMZ-0_x",
 "entity_id": "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11",
 "expires_at": "2023-11-14T22:13:20Z"
}
"""
"""What the first versions wrote."""


@given(st.from_regex(r"[A-Za-z0-9._~+/-]{1,99}=*", fullmatch=True), st.text())
def test_a_record_is_read_as_it_was_written(text: str, endpoint: str) -> None:
    """Whatever DSM issues as a token."""
    record = FileRecord(endpoint=endpoint, bootstrap_sha256="00", access_token=Secret(text))
    assert decode(encode(record), FileRecord) == record


def test_a_record_does_not_print_its_token() -> None:
    """It may end up in a traceback."""
    record = FileRecord(endpoint=URL, bootstrap_sha256="00", access_token=Secret("tUk3wMZ-0_x"))
    assert "tUk3wMZ-0_x" not in repr(record)


def test_a_file_of_an_earlier_version_is_read() -> None:
    """After an upgrade there is no other way back to DSM."""
    assert decode(EARLIER_VERSION, FileRecord) == FileRecord(
        endpoint=URL,
        bootstrap_sha256="00",
        access_token=Secret("tUk3wMZ-0_x"),
        entity_id=ENTITY_ID,
        expires_at="2023-11-14T22:13:20Z",
    )


def test_fields_of_a_later_version_are_ignored() -> None:
    """A downgrade must not lose the session either."""
    raw = json.dumps(FIELDS | {"generation": 7, "more": [1, {}]}).encode()
    assert decode(raw, FileRecord).access_token == Secret("tUk3wMZ-0_x")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is not valid JSON"),
        (b"\x00" * 512, "it is not valid JSON"),
        (b"\xff", "it is not valid JSON"),
        (b'{"endpoint": "\xff"}', "it is not valid JSON"),
        (b"[" * 50_000, "Expected `object`, got `array`"),
        (b'{"more": ' + b"[" * 50_000, "it is not valid JSON"),
        (b"{}", "missing required field `endpoint`"),
        (b"[]", "Expected `object`, got `array`"),
        (json.dumps(FIELDS | {"access_token": None}).encode(), "Expected a bearer token"),
        (json.dumps(FIELDS | {"access_token": "a\nb"}).encode(), "Expected a bearer token"),
        (json.dumps(FIELDS | {"access_token": "ab\n"}).encode(), "Expected a bearer token"),
        (json.dumps(FIELDS | {"endpoint": 1}).encode(), r"got `int` - at `\$.endpoint`"),
        (json.dumps({**FIELDS, "bootstrap_sha256": []}).encode(), r"at `\$.bootstrap_sha256`"),
        (
            json.dumps(FIELDS).encode().ljust(MAX_SESSION_BYTES + 1),
            f"it has over {MAX_SESSION_BYTES} bytes",
        ),
    ],
)
def test_what_is_not_a_session_is_refused(raw: bytes, why: str) -> None:
    """A token that would break a request's header must never get into one."""
    with pytest.raises(ValueError, match=why) as caught:
        decode(raw, FileRecord)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(r'\{"access_token":.*')))
def test_garbage_is_refused_without_a_bug(garbage: bytes | str) -> None:
    """A disk may hold anything after a crash."""
    raw = garbage.encode(errors="replace") if isinstance(garbage, str) else garbage
    with pytest.raises(ValueError, match=r"^it"):
        decode(raw, FileRecord)


def test_only_secrets_are_written_by_a_hook() -> None:
    """Any other type in a record is a bug, and must not be written as something else."""

    class Odd(msgspec.Struct):
        value: object

    with pytest.raises(NotImplementedError, match="a record holds no object"):
        encode(Odd(object()))
