"""What of a source's content is a credential, and the sources that need no disk or process."""

from base64 import b64decode, b64encode, urlsafe_b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.credentials.contents import LONGEST, api_key, bearer_token
from refresherd.adapters.credentials.sources import source
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    App,
    Certificate,
    Credential,
    Endpoint,
)
from refresherd.engine.ports import CredentialSource
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import API_KEY, ENTITY_ID

WHERE = "/etc/refresherd/payments.key"

EMPTY = "it is empty; it must hold the API key"


@pytest.mark.parametrize("text", [API_KEY, f"{API_KEY}\n", f" \t{API_KEY}\r\n\n"])
def test_white_space_around_an_api_key_is_removed(text: str) -> None:
    """Editors and `echo` end a file with a newline."""
    secret, entity_id = api_key(text.encode(), WHERE)
    assert secret.reveal() == API_KEY
    assert entity_id == ENTITY_ID


@pytest.mark.parametrize(
    ("text", "entity_id"),
    [
        (b64encode(f"{ENTITY_ID.upper()}:secret".encode()).decode(), ENTITY_ID),
        (b64encode(f"{ENTITY_ID}:secret".encode()).decode().rstrip("="), ENTITY_ID),
        (urlsafe_b64encode(f"{ENTITY_ID}:\u00ff\u00fe?>".encode()).decode(), ENTITY_ID),
    ],
)
def test_the_apps_uuid_is_read_from_a_key_that_has_it(text: str, entity_id: str) -> None:
    """The UUID reveals that a file holds another app's key."""
    secret, found = api_key(text.encode(), WHERE)
    assert secret.reveal() == text
    assert found == entity_id


def test_a_token_has_no_uuid() -> None:
    """Tokens are opaque."""
    secret, entity_id = bearer_token(b"tUk3wMZ-0_x.~+/==\n", WHERE)
    assert secret.reveal() == "tUk3wMZ-0_x.~+/=="
    assert entity_id == ""


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", EMPTY),
        (b" \n", EMPTY),
        (
            b"two lines\nhunter2",
            "it holds more than one word or line; keep only the value itself",
        ),
        (b"\xef\xbb\xbfhunter2", "it begins with a byte order mark; save it as UTF-8 without one"),
        (b"hunter2\xff", "it holds a character that is not ASCII; copy the value again"),
        (b"hunter2\0", "it holds NUL bytes; save it as plain text in UTF-8"),
        (b"A" * (LONGEST + 1), "it is longer than 65536 bytes, so it is not an API key"),
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
    with pytest.raises(Retryable, match="it begins with `Bearer `; keep only the token"):
        bearer_token(b"Bearer abc", WHERE)


@given(st.binary())
def test_a_parsed_credential_fits_into_a_header(raw: bytes) -> None:
    """A byte that ends a header line would let a file change our requests."""
    for parse in (api_key, bearer_token):
        try:
            text = parse(raw, WHERE)[0].reveal()
        except Retryable as error:
            assert error.reason is Reason.CREDENTIAL  # noqa: PT017  # the error is one of two good ends
        else:
            assert text.isascii()
            assert text.isprintable()
            assert " " not in text


@pytest.mark.parametrize(
    "text",
    [
        b64encode(b"payments:secret").decode(),
        b64encode(b"\xff\xfe:secret").decode(),
        API_KEY[:50],
        "A",
    ],
)
def test_what_is_not_a_whole_key_is_not_sent(text: str) -> None:
    """Somebody may be writing it, and DSM would count a failed login."""
    with pytest.raises(Retryable, match="; an API key is base64 of <app uuid>:<secret>"):
        api_key(text.encode(), WHERE)


@given(st.text() | st.from_regex(r"[A-Za-z0-9+/_-]+={0,2}", fullmatch=True))
def test_any_text_is_a_key_or_not(text: str) -> None:
    """Looking for a UUID must not fail for what has none."""
    with suppress(Retryable):
        assert api_key(text.encode(errors="replace"), WHERE)[0].reveal() == text.strip()


def test_an_api_key_is_no_token() -> None:
    """A key in the wrong file must not leave this host in another header than its own."""
    with pytest.raises(Retryable, match="it holds an API key; name this file as api_key_file"):
        bearer_token(API_KEY.encode(), WHERE)


def source_of(credential: Credential, environ: dict[str, str] | None = None) -> CredentialSource:
    """Return the source of an app with this credential."""
    app = App("payments", Endpoint("https://amer.smartkey.io"), credential)
    return source(app, environ or {}, KeyedExecutor())


async def test_a_variable_holds_an_api_key() -> None:
    """Containers get their secrets this way. Nobody can change it from outside: no stamp."""
    variable = source_of(ApiKeyEnv("FORTANIX_API_KEY"), {"FORTANIX_API_KEY": API_KEY})
    assert variable.entity_id == ""
    assert (await variable.read()).reveal() == API_KEY
    assert variable.entity_id == ENTITY_ID
    assert await variable.stamp() is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "it is not set; set it, and restart the daemon"),
        ({"KEY": " "}, "it is empty; it must hold the API key"),
        ({"KEY": "\udcff"}, "it holds a character that is not ASCII; copy the value again"),
    ],
)
async def test_the_message_for_an_unusable_variable_names_it(
    environ: dict[str, str], message: str
) -> None:
    """The operator has to know which variable to correct."""
    with pytest.raises(Retryable) as caught:
        await source_of(ApiKeyEnv("KEY"), environ).read()
    assert caught.value.reason is Reason.CREDENTIAL
    assert caught.value.message == f"api_key_env KEY: {message}"


async def test_a_certificate_app_logs_in_by_uuid_and_empty_password() -> None:
    """DSM wants both, and authenticates the app by the certificate in the handshake."""
    certificate = source_of(Certificate(ENTITY_ID.upper(), Path("app.pem"), Path("app.key")))
    secret = await certificate.read()
    assert b64decode(secret.reveal()).decode() == f"{ENTITY_ID.upper()}:"
    assert certificate.entity_id == ENTITY_ID


async def test_a_command_has_no_stamp() -> None:
    """Only running it would show a change, and it may ask for a password."""
    command = source_of(ApiKeyCommand(("pass", "dsm")))
    assert await command.stamp() is None
    assert command.entity_id == ""
