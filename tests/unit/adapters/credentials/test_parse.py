"""What was read, as a credential."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.credentials.parse import LONGEST, api_key, bearer_token
from refresherd.domain.errors import Reason, Retryable
from support.fakes import API_KEY, ENTITY_ID

WHERE = "/etc/refresherd/payments.key"


@pytest.mark.parametrize("text", [API_KEY, f"{API_KEY}\n", f" \t{API_KEY}\r\n\n"])
def test_an_api_key_is_taken_without_the_space_around_it(text: str) -> None:
    """Editors and `echo` end a file with a newline."""
    parsed = api_key(text.encode(), WHERE)
    assert parsed.secret.reveal() == API_KEY
    assert parsed.entity_id == ENTITY_ID


@pytest.mark.parametrize(
    ("text", "entity_id"),
    [
        (b64encode(f"{ENTITY_ID.upper()}:secret".encode()).decode(), ENTITY_ID),
        (b64encode(f"{ENTITY_ID}:secret".encode()).decode().rstrip("="), ENTITY_ID),
        (urlsafe_b64encode(f"{ENTITY_ID}:\u00ff\u00fe?>".encode()).decode(), ENTITY_ID),
        (b64encode(b"payments:secret").decode(), ""),
        (b64encode(b"\xff\xfe:secret").decode(), ""),
        ("A", ""),
    ],
)
def test_the_apps_uuid_is_read_from_the_key_where_it_is_there(text: str, entity_id: str) -> None:
    """It shows the wrong key in the file; a key of another make is DSM's to judge."""
    parsed = api_key(text.encode(), WHERE)
    assert parsed.secret.reveal() == text
    assert parsed.entity_id == entity_id


def test_a_token_names_no_app() -> None:
    """It is opaque."""
    parsed = bearer_token(b"tUk3wMZ-0_x.~+/==\n", WHERE)
    assert parsed.secret.reveal() == "tUk3wMZ-0_x.~+/=="
    assert parsed.entity_id == ""


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", f"{WHERE}: empty"),
        (b" \n", f"{WHERE}: empty"),
        (b"two lines\nhunter2", f"{WHERE}: not an API key (base64) on one line"),
        (b"hunter2:undecoded", f"{WHERE}: not an API key (base64) on one line"),
        (b"hunter2\xff", f"{WHERE}: not an API key (base64) on one line"),
        (b"hunter2\0", f"{WHERE}: not an API key (base64) on one line"),
        (b"A" * (LONGEST + 1), f"{WHERE}: over 65536 bytes, which an API key (base64) never has"),
    ],
)
def test_what_is_no_key_is_told_without_quoting_it(raw: bytes, message: str) -> None:
    """The file may hold another secret; and what a header cannot hold must not get there."""
    with pytest.raises(Retryable) as caught:
        api_key(raw, WHERE)
    assert caught.value.reason is Reason.CREDENTIAL
    assert caught.value.message == message


def test_what_is_no_token_is_told_as_such() -> None:
    """The operator put the wrong kind of file there."""
    with pytest.raises(Retryable, match="not a bearer token on one line"):
        bearer_token(b"Bearer abc", WHERE)


@given(st.binary())
def test_what_passes_fits_into_a_header(raw: bytes) -> None:
    """Any byte that ends a header line would let a file write our requests."""
    for parse in (api_key, bearer_token):
        try:
            text = parse(raw, WHERE).secret.reveal()
        except Retryable as error:
            assert error.reason is Reason.CREDENTIAL  # noqa: PT017  # the error is one of two good ends
        else:
            assert text.isascii()
            assert text.isprintable()
            assert " " not in text


@given(st.from_regex(r"[A-Za-z0-9+/_-]+={0,2}", fullmatch=True))
def test_any_base64_is_a_key(text: str) -> None:
    """Telling whose it is must not fail for a key that is of another make."""
    assert api_key(text.encode(), WHERE).secret.reveal() == text
