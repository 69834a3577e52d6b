"""The sessions that DSM's AuthResponse grants, and the answers that grant none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.dsm.answers import Exchange, Operation, granted
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable
from refresherd.domain.model import Grant, Secret

SENT = Secret("c2VjcmV0LWtleQ==")

TOKEN = "tUk3wMZ-0_x" * 8  # as long as DSM's

GOOD: dict[str, Any] = {
    "token_type": "Bearer",
    "expires_in": 600,
    "access_token": TOKEN,
    "entity_id": "8F2B7A36-59c2-4f0e-9c52-2d1f3e0a7c11",
}


def read(body: bytes, content_type: str = "application/json") -> Grant:
    """Read a successful answer of a content type."""
    headers = {"Content-Type": content_type, "X-Request-Id": "r-1"}
    return granted(Exchange(Operation.LOGIN, SENT, 200, headers, body, 0.0))


def fault(body: bytes, content_type: str = "application/json") -> str:
    """Return why an answer is useless."""
    with pytest.raises(Retryable) as caught:
        read(body, content_type)
    assert caught.value.reason is Reason.BAD_RESPONSE
    assert caught.value.request_id == "r-1"
    assert TOKEN not in caught.value.message
    return caught.value.message


def answer(**changes: object) -> bytes:
    """Return a good answer with some fields changed; `...` leaves one out."""
    fields = {**GOOD, **changes}
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


def test_an_answer_grants_a_session() -> None:
    """This is the purpose of every login."""
    grant = read(answer())
    assert grant.access_token.reveal() == TOKEN
    assert grant.entity_id == "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11"
    assert grant.lifetime == 600.0
    assert grant.request_id == "r-1"


@pytest.mark.parametrize(
    "more",
    [
        {"allowed_mfa_methods": []},
        {"allowed_mfa_methods": None, "challenge": None, "fido2_assertion_options": None},
        {"invented_later": {"deep": [1, None]}},
        {"expires_in": 4294967295},
        {"expires_in": 1},
        {"access_token": "a.b~c+d/e=="},
        {"access_token": "x" * 16384},
    ],
)
def test_every_usable_answer_grants_a_session(more: dict[str, object]) -> None:
    """DSM may add fields, and an app without MFA gets an empty list of methods."""
    assert read(answer(**more)).lifetime > 0


@pytest.mark.parametrize(
    "more",
    [
        {"allowed_mfa_methods": [{"Fido2": {}}]},
        {"allowed_mfa_methods": ["anything"]},
        {"challenge": {"u2f_challenge": "x", "u2f_keys": []}},
        {"fido2_assertion_options": {"challenge": "x"}},
        {"challenge": {}, "access_token": ..., "expires_in": 0, "token_type": "Cookie"},
    ],
)
def test_an_answer_that_wants_a_second_factor_is_rejected(more: dict[str, object]) -> None:
    """Its token is useless, and a retry would not bring anybody to the security key."""
    with pytest.raises(Rejected) as caught:
        read(answer(**more))
    assert caught.value.reason is Reason.MFA_REQUIRED
    assert caught.value.request_id == "r-1"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"token_type": "Cookie"}, "token_type is not Bearer"),
        ({"token_type": "bearer"}, "token_type is not Bearer"),
        ({"token_type": ...}, "token_type"),
        ({"access_token": ...}, "access_token is missing"),
        ({"access_token": None}, "access_token is missing"),
        ({"access_token": ""}, "access_token is missing"),
        ({"access_token": 7}, "access_token"),
        ({"access_token": "x" * 16385}, "longer than 16384"),
        ({"access_token": "new\nline"}, "characters"),
        ({"access_token": "two words"}, "characters"),
        ({"access_token": "tökén"}, "characters"),
        ({"access_token": "a=b"}, "characters"),
        ({"expires_in": 0}, "expires_in is 0"),
        ({"expires_in": -1}, "expires_in"),
        ({"expires_in": 4294967296}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
        ({"expires_in": "600"}, "expires_in"),
        ({"expires_in": 600.0}, "expires_in"),
        ({"expires_in": None}, "expires_in"),
        ({"expires_in": ...}, "expires_in"),
        ({"entity_id": ...}, "entity_id"),
        ({"entity_id": ""}, "entity_id is not a UUID"),
        ({"entity_id": "8f2b7a3659c24f0e9c522d1f3e0a7c11"}, "entity_id is not a UUID"),
        ({"allowed_mfa_methods": "Fido2"}, "allowed_mfa_methods"),
    ],
)
def test_an_unusable_field_is_named(change: dict[str, object], named: str) -> None:
    """A useless token must never be published, and the operator needs the field's name."""
    assert named in fault(answer(**change))


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_answer_has_a_message_of_its_own(body: bytes) -> None:
    """Proxies answer 200 with nothing, so the operator should look there."""
    assert fault(body) == "the answer is empty; a proxy may have sent it"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=utf-8", b"<!doctype html><title>Hotel WiFi</title>"),
        ("", b"\n<title>Hotel WiFi</title>"),
        ("TEXT/HTML", b"Hotel WiFi"),
    ],
)
def test_the_message_quotes_the_first_words_of_a_web_page(content_type: str, body: bytes) -> None:
    """The title of a login portal's page tells what stands between here and DSM."""
    assert fault(body, content_type) == (
        f"the answer is a web page ({content_type or 'unknown type'}), not DSM's; "
        "a proxy or portal may have sent it: Hotel WiFi"
    )


@pytest.mark.parametrize(
    "body",
    [
        answer()[:-20],
        answer() + b"trailing",
        b"\xef\xbb\xbf" + answer(),
        b"[" + answer() + b"]",
        b"null",
        b"plain text",
        b'{"token_type": "\xff"}',
        answer()[:-1] + b', "challenge": ' + b"[" * 100_000,
    ],
)
def test_an_undecodable_answer_is_not_quoted(body: bytes) -> None:
    """A broken answer may hold a whole token."""
    assert fault(body).startswith("the answer is not a valid AuthResponse: ")


VALUES: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([{}])
)


@given(st.dictionaries(st.sampled_from([*GOOD, "allowed_mfa_methods", "challenge"]), VALUES))
def test_any_fields_give_a_usable_session_or_a_dsm_error(changes: dict[str, object]) -> None:
    """A granted token fits into a header and lives for some time."""
    try:
        grant = read(json.dumps({**GOOD, **changes}).encode())
    except DsmError as error:
        assert error.message.isprintable()  # noqa: PT017  # the error is one of two good ends
    else:
        assert grant.access_token.reveal().isascii()
        assert not set(grant.access_token.reveal()) & set(' \r\n\t"')
        assert 1 <= grant.lifetime <= 4294967295


@given(st.binary())
def test_any_bytes_are_a_bad_response(body: bytes) -> None:
    """Garbage must neither pass for a session nor raise anything else."""
    with pytest.raises(Retryable):
        read(body)
