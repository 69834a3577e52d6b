"""The sessions that DSM's AuthResponse grants, and the answers that grant none."""

import json
import re
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


KNOWN = {*GOOD, "allowed_mfa_methods", "challenge", "fido2_assertion_options"}


def paired(*values: object) -> bool:
    """Return whether values can be written in UTF-8: no half of a surrogate pair is in them."""
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def finite(value: object) -> bool:
    """Return whether JSON can hold a value: it has no infinite number."""
    return "Infinity" not in json.dumps(value)


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
        {"token_type": "bearer"},
        {"token_type": "BEARER"},
        {"expires_in": 600.0},
        {"half a pair": "\ud83d", "\udc00": ["\\\ud800", "\ud83d\ud83d\ude00"]},
    ],
)
def test_every_usable_answer_grants_a_session(more: dict[str, object]) -> None:
    """DSM may add fields, and an app without MFA gets an empty list of methods.

    What JSON (RFC 8259) and OAuth (RFC 6749, 5.1) call the same is the same.
    """
    assert read(answer(**more)).lifetime > 0


@pytest.mark.parametrize("written", ["600", "600.0", "6e2", "6.0E+2", "0.6e3", "60000e-2"])
def test_a_number_may_be_written_in_any_way(written: str) -> None:
    """JSON has one type of number; some servers' libraries write all of them as floats."""
    body = answer().replace(b"600", written.encode())
    assert read(body).lifetime == 600.0


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
        ({"token_type": "Bearer "}, "token_type is not Bearer"),
        ({"token_type": ...}, "token_type"),
        ({"access_token": ...}, "access_token is missing"),
        ({"access_token": None}, "access_token is missing"),
        ({"access_token": ""}, "access_token is missing"),
        ({"access_token": 7}, "access_token"),
        ({"access_token": "x" * 16385}, "over 16384 characters"),
        ({"access_token": "new\nline"}, "characters"),
        ({"access_token": "two words"}, "characters"),
        ({"access_token": "tökén"}, "characters"),
        ({"access_token": "a=b"}, "characters"),
        ({"access_token": "a:b"}, "characters that DSM's tokens never have"),
        ({"access_token": "\ud800"}, "characters that DSM's tokens never have"),
        ({"expires_in": 0}, "expires_in is 0"),
        ({"expires_in": -1}, "expires_in is negative"),
        ({"expires_in": 4294967296}, "expires_in is over 4294967295"),
        ({"expires_in": True}, "expires_in: expected a number, got true or false"),
        ({"expires_in": "600"}, "expires_in: expected a number, got a string"),
        ({"expires_in": 600.5}, "expires_in is not a whole number"),
        ({"expires_in": 1e300}, "expires_in is over 4294967295"),
        ({"expires_in": 10**400}, "expires_in"),
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
        b"\xff\xfe" + answer(),
        b"[" + answer() + b"]",
        b"null",
        b"plain text",
        b'{"token_type": "\xff"}',
        answer()[:-1] + b', "challenge": ' + b"[" * 100_000,
    ],
)
def test_an_undecodable_answer_is_not_quoted(body: bytes) -> None:
    """A broken answer may hold a whole token."""
    message = fault(body)
    assert message.startswith("the answer is not a valid AuthResponse: ")
    assert not PYTHON.search(message)


PYTHON = re.compile(r"codec|recursion|decode|Error|None|`|\b(str|int|float|bool|dict)\b")
"""Words that tell a programmer something, and an operator nothing."""

TEXTS = st.text(st.characters(codec=None, exclude_categories=()))
"""With halves of surrogate pairs, which JSON can escape."""

VALUES: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just([{}])
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(st.dictionaries(st.sampled_from([*GOOD, "allowed_mfa_methods", "challenge"]), VALUES))
def test_any_fields_give_a_usable_session_or_a_dsm_error(changes: dict[str, object]) -> None:
    """A granted token fits into a header and lives for some time."""
    try:
        grant = read(json.dumps({**GOOD, **changes}).encode())
    except DsmError as error:
        assert error.message.isprintable()  # noqa: PT017  # the error is one of two good ends
        assert not PYTHON.search(error.message)  # noqa: PT017  # as above
    else:
        assert grant.access_token.reveal().isascii()
        assert not set(grant.access_token.reveal()) & set(' \r\n\t"')
        assert 1 <= grant.lifetime <= 4294967295


def escaped(text: str) -> str:
    """Return a JSON string that writes each character as an escape."""
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'


@given(
    st.integers(1, 4294967295),
    st.sampled_from(["{}", "{}.0", "{}e0", "{}.000E+0", "{}0e-1"]),
    st.dictionaries(TEXTS.filter(lambda name: name not in KNOWN), ANYTHING.filter(finite)),
    st.permutations(["token_type", "access_token", "entity_id"]),
    st.sets(st.sampled_from(["escapes", "mark", "blanks", "upper case"])),
)
def test_every_valid_answer_is_accepted_however_it_is_written(
    lifetime: int,
    number: str,
    unknown: dict[str, object],
    order: list[str],
    style: set[str],
) -> None:
    """DSM, or a gateway, may change its JSON library at any time."""
    known = {**GOOD, "token_type": "BEARER" if "upper case" in style else "bearer"}
    write = escaped if "escapes" in style else json.dumps
    parts = [f"{write(name)}:{write(known[name])}" for name in order]
    parts.append(f"{write('expires_in')}:{number.format(lifetime)}")
    parts += [
        f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=not paired(name, value))}"
        for name, value in unknown.items()
    ]
    gap = " \r\n\t" if "blanks" in style else ""
    text = f"{gap}{{{gap}{f'{gap},{gap}'.join(parts)}{gap}}}{gap}"
    grant = read((b"\xef\xbb\xbf" if "mark" in style else b"") + text.encode())
    assert grant.access_token.reveal() == TOKEN
    assert grant.lifetime == lifetime


@given(st.binary())
def test_any_bytes_are_a_bad_response(body: bytes) -> None:
    """Garbage must neither pass for a session nor raise anything else."""
    with pytest.raises(Retryable) as caught:
        read(body)
    assert not PYTHON.search(caught.value.message.partition("may have sent it")[0])


@given(st.data())
def test_a_damaged_answer_is_refused_or_the_same(data: st.DataObject) -> None:
    """Bytes that are lost, added or changed on the way never make another token."""
    body = bytearray(answer())
    at = data.draw(st.integers(0, len(body)))
    body[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    try:
        grant = read(bytes(body))
    except DsmError as error:
        assert TOKEN not in error.message  # noqa: PT017  # the error is one of two good ends
    else:
        assert grant.access_token.reveal().isascii()
