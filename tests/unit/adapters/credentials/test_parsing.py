"""What of a source's content is a credential."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.credentials.parsing import LONGEST, api_key, bearer_token
from refresherd.domain.errors import Reason, Retryable
from support.fakes import API_KEY, ENTITY_ID

WHERE = "/etc/refresherd/payments.key"

EMPTY = "it is empty; it must hold an API key (base64)"

NO_KEY = "it must hold an API key (base64) and nothing else, on one line"


@pytest.mark.parametrize("text", [API_KEY, f"{API_KEY}\n", f" \t{API_KEY}\r\n\n"])
def test_white_space_around_an_api_key_is_removed(text: str) -> None:
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
def test_the_apps_uuid_is_read_from_a_key_that_has_it(text: str, entity_id: str) -> None:
    """The UUID reveals that a file holds another app's key; any other key is DSM's to judge."""
    parsed = api_key(text.encode(), WHERE)
    assert parsed.secret.reveal() == text
    assert parsed.entity_id == entity_id


def test_a_token_has_no_uuid() -> None:
    """Tokens are opaque."""
    parsed = bearer_token(b"tUk3wMZ-0_x.~+/==\n", WHERE)
    assert parsed.secret.reveal() == "tUk3wMZ-0_x.~+/=="
    assert parsed.entity_id == ""


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", EMPTY),
        (b" \n", EMPTY),
        (b"two lines\nhunter2", NO_KEY),
        (b"hunter2:undecoded", NO_KEY),
        (b"hunter2\xff", NO_KEY),
        (b"hunter2\0", NO_KEY),
        (b"A" * (LONGEST + 1), "it is longer than 65536 bytes, so it is not an API key (base64)"),
    ],
)
def test_the_message_for_an_invalid_key_does_not_quote_it(raw: bytes, message: str) -> None:
    """The file may hold another secret, and what a header cannot hold must not get into one."""
    with pytest.raises(Retryable) as caught:
        api_key(raw, WHERE)
    assert caught.value.reason is Reason.CREDENTIAL
    assert caught.value.message == f"{WHERE}: {message}"


def test_an_invalid_token_is_an_error() -> None:
    """The operator may have put the wrong kind of file there."""
    with pytest.raises(Retryable, match="must hold a bearer token and nothing else, on one line"):
        bearer_token(b"Bearer abc", WHERE)


@given(st.binary())
def test_a_parsed_credential_fits_into_a_header(raw: bytes) -> None:
    """A byte that ends a header line would let a file change our requests."""
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
    """Looking for a UUID must not fail for a key that has none."""
    assert api_key(text.encode(), WHERE).secret.reveal() == text
