"""What looks like an API key or a token, and what is said of what does not."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config.credential_formats import api_key_fault, token_fault
from support.fakes import API_KEY, ENTITY_ID

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
def test_an_api_key_is_one_with_or_without_space_around_it(content: bytes) -> None:
    """Editors end files with a newline, and it is taken off when the key is used."""
    assert api_key_fault(content) == ""


@pytest.mark.parametrize(
    ("content", "said"),
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
        # The first line ends with the padding: no name of a variable in front of the second.
        (b"%b\n%b\n" % (PADDED, PADDED), "more than one word or line"),
        (b"payments " + KEY, "more than one word or line"),
        (b"Bearer " + TOKEN, "it holds a bearer token"),
        (TOKEN, "it looks like a bearer token"),
        (ENTITY_ID.encode(), "only an app's UUID"),
        (f"{ENTITY_ID}:sesame".encode(), "<app uuid>:<secret> without base64"),
        (b64encode(b"payments:sesame"), "does not look like an API key"),
        (b64encode(f"{ENTITY_ID}:".encode()), "does not look like an API key"),
        (b"hunter2", "does not look like an API key"),
        (b"\x00\xff", "does not look like an API key"),
    ],
)
def test_what_is_no_api_key_is_told_plainly(content: bytes, said: str) -> None:
    """Every login with it would be one of the hundred that burn the credential."""
    assert said in api_key_fault(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TOKEN + b"\n", ""),
        (b"short", ""),
        (b"", "it is empty"),
        (b"Bearer " + TOKEN, "begins with `Bearer `"),
        (b"Authorization: Bearer " + TOKEN, "begins with `Authorization:`"),
        (KEY, "it holds an API key"),
        (b"two words", "more than one word"),
    ],
)
def test_a_token_is_opaque_but_has_nothing_around_it(content: bytes, said: str) -> None:
    """What it is made of is DSM's business."""
    fault = token_fault(content)
    assert said in fault
    assert bool(said) == bool(fault)


@given(
    st.binary() | st.from_regex(rb"\A(Basic |Bearer |KEY=)?[A-Za-z0-9+/_=-]{20,200}\n?\Z"),
)
def test_a_verdict_never_repeats_what_it_judges(content: bytes) -> None:
    """It ends up in logs."""
    words = [word for word in content.split() if len(word) > 15]
    for verdict in (api_key_fault(content), token_fault(content)):
        assert not any(word.decode(errors="replace") in verdict for word in words)
