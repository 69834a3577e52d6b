"""What is accepted as an API key, a token or a password, and what the fault says otherwise."""

from base64 import b64encode, urlsafe_b64encode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.credential_formats import (
    api_key_fault,
    app_uuid,
    password_fault,
    token_fault,
    without_newline,
)
from support.fakes import API_KEY, ENTITY_ID

APP = UUID("8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11")


@given(st.uuids(), st.binary(min_size=1))
def test_a_key_reveals_its_app(app: UUID, secret: bytes) -> None:
    """DSM makes it so; tools write base64 in two alphabets, and some drop the padding."""
    plain = f"{app}:".encode() + secret
    for key in (b64encode(plain).decode(), urlsafe_b64encode(plain).decode()):
        assert app_uuid(key) == app_uuid(key.rstrip("=")) == str(app)


def test_the_case_of_the_uuid_does_not_matter() -> None:
    """It is compared with DSM's."""
    assert app_uuid(b64encode(f"{APP}:secret".upper().encode()).decode()) == str(APP)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "A",
        b64encode(f"{APP}".encode()).decode(),
        b64encode(f"{APP}:".encode()).decode(),
        b64encode(b"payments:secret").decode(),
        f"{APP}:secret",
        f"{b64encode(f'{APP}:secret'.encode()).decode()}\n",
        "\N{EM DASH}" * 40,
    ],
)
def test_anything_else_is_no_key(key: str) -> None:
    """It may be the half of one that somebody is writing."""
    assert app_uuid(key) == ""


@given(st.text())
def test_no_text_is_a_bug(text: str) -> None:
    """The text comes from files of operators."""
    assert app_uuid(text) in {"", app_uuid(text).lower()}


TOKEN = b"Zk3-x_9QbT" * 8 + b"aB3dE6"
KEY = API_KEY.encode()
PADDED = b64encode(f"{ENTITY_ID}:{'s' * 64}".encode())


@pytest.mark.parametrize(
    "content",
    [
        KEY,
        KEY + b"\n",
        b" " + KEY + b"\r\n",
        KEY.rstrip(b"="),
        urlsafe_b64encode(f"{ENTITY_ID}:\u00ff\u00fe?>".encode()),
    ],
)
def test_white_space_around_an_api_key_is_accepted(content: bytes) -> None:
    """Editors end files with a newline, and the daemon strips it when it reads the key."""
    assert api_key_fault(content) == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"Basic " + KEY, "begins with `Basic `"),
        (b"Authorization: Basic " + KEY, "begins with `Authorization:`"),
        (b"FORTANIX_API_KEY=" + KEY, "begins with `FORTANIX_API_KEY=`"),
        (b"SDKMS_API_KEY = " + KEY, "begins with `SDKMS_API_KEY=`"),
        (b"export FORTANIX_API_KEY=" + KEY, "begins with `export`"),
        (b"MY_KEY=" + KEY, "a variable name and `=`"),
        (b'"' + KEY + b'"', "begins with a quotation mark"),
        (b"MY_KEY = " + KEY, "a variable name and `=`"),
        # The padding of the first key and the newline must not pass for NAME=value.
        (b"%b\n%b\n" % (PADDED, PADDED), "more than one word or line"),
        (b"payments " + KEY, "more than one word or line"),
        (b"Bearer " + TOKEN, "it holds a bearer token"),
        (TOKEN, "it looks like a bearer token"),
        (ENTITY_ID.encode(), "only an app's UUID"),
        (f"{ENTITY_ID}:sesame".encode(), "<app uuid>:<secret> without base64"),
        (b64encode(b"payments:sesame"), "does not look like an API key"),
        (b64encode(f"{ENTITY_ID}:".encode()), "does not look like an API key"),
        (b"hunter2", "does not look like an API key"),
        (b"\x00\xff", "it holds NUL bytes"),
        (b"\xef\xbb\xbf" + KEY, "it begins with a byte order mark; save it as UTF-8 without one"),
        (API_KEY.encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        (API_KEY.encode("utf-16-le"), "it holds NUL bytes; save it as plain text in UTF-8"),
        (KEY + b'"', "it ends with a quotation mark"),
        (KEY + b" # payments", "more than one word or line"),
        (KEY + b"\r\n" + KEY, "more than one word or line"),
        (b"# payments\n" + KEY, "it begins with a comment"),
        (b'{"api_key": "' + KEY + b'"}', "it looks like JSON"),
        (b"api_key: " + KEY, "it begins with a name and `:`"),
        (b"-----BEGIN CERTIFICATE-----\nx\n", "it is a PEM file"),
        (KEY + "\u200b".encode(), "it holds a character that is not ASCII"),
        (b"$FORTANIX_API_KEY", "does not look like an API key"),
    ],
)
def test_anything_but_an_api_key_is_refused(content: bytes, expected: str) -> None:
    """Each login with it would count among the 100 after which DSM resets the secret."""
    assert expected in api_key_fault(content)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TOKEN + b"\n", ""),
        (b"short", ""),
        (b"", "it is empty"),
        (b"Bearer " + TOKEN, "begins with `Bearer `"),
        (b"Authorization: Bearer " + TOKEN, "begins with `Authorization:`"),
        (KEY, "it holds an API key"),
        (b"two words", "more than one word"),
        (b"\xef\xbb\xbf" + TOKEN, "a byte order mark"),
        (TOKEN.decode().encode("utf-16"), "UTF-16"),
        (b"'" + TOKEN + b"'", "begins with a quotation mark"),
        (b"TOKEN=" + TOKEN, "a variable name and `=`"),
        (b"app-token=" + TOKEN, "a character that no token has"),
    ],
)
def test_a_token_may_be_anything_without_a_prefix(content: bytes, expected: str) -> None:
    """Tokens are opaque; only their surroundings can be wrong."""
    fault = token_fault(content)
    assert expected in fault
    assert bool(expected) == bool(fault)


@given(
    st.binary() | st.from_regex(rb"\A(Basic |Bearer |KEY=)?[A-Za-z0-9+/_=-]{20,200}\n?\Z"),
)
def test_a_fault_never_repeats_the_content(content: bytes) -> None:
    """Faults end up in logs."""
    words = [word for word in content.split() if len(word) > 15]
    for fault in (api_key_fault(content), token_fault(content), password_fault(content)):
        assert not any(word.decode(errors="replace") in fault for word in words)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"sesame", "sesame"),
        (b"sesame\n", "sesame"),
        (b"sesame\r\n", "sesame"),
        (b" open  sesame \n", " open  sesame "),
        ("s\u00e9same \u2713".encode(), "s\u00e9same \u2713"),
        (b"Basic c2VzYW1l", "Basic c2VzYW1l"),
    ],
)
def test_everything_but_the_last_newline_is_the_password(content: bytes, expected: str) -> None:
    """Unlike a key's, a password's blanks count: who chose it may have put them there."""
    assert password_fault(content) == ""
    assert without_newline(content).decode() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"  \n", "empty"),
        (b"one\ntwo", "more than one line"),
        (b"one\n\n", "more than one line"),
        (b"\xef\xbb\xbfsesame", "byte order mark"),
        ("sesame".encode("utf-16"), "UTF-16"),
        (b"ses\x00ame", "control characters"),
        (b"ses\tame", "control characters"),
        (b"ses\xffame", "not in UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_refused(content: bytes, message: str) -> None:
    """DSM would count a wrong password, and the LDAP server may lock the account after a few."""
    assert message in password_fault(content)


@given(st.binary(max_size=60))
def test_an_accepted_password_is_one_printable_line(content: bytes) -> None:
    """It goes into the body of a request as it is."""
    if password_fault(content) == "":
        text = without_newline(content).decode()
        assert text.isprintable()
        assert text.strip()
