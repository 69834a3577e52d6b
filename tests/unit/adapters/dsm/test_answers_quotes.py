"""What messages quote of an answer."""

from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.dsm.answers import Exchange, Operation
from refresherd.domain.model import Secret

SENT = Secret("c2VjcmV0LWtleQ==")


def quote(text: str, sent: Secret = SENT, limit: int = 120) -> str:
    """Return what a message quotes of a text."""
    return Exchange(Operation.LOGIN, sent, 500, {}, b"", 0.0).quote(text, limit)


def excerpt(body: bytes) -> str:
    """Return what a message quotes of a body."""
    return Exchange(Operation.LOGIN, SENT, 500, {}, body, 0.0).excerpt()


def test_an_exchange_prints_neither_what_was_sent_nor_the_answer() -> None:
    """The answer may hold the new token, and tracebacks print values."""
    headers = {"X-Echo": SENT.reveal()}
    exchange = Exchange(Operation.LOGIN, SENT, 200, headers, b"new-token", 1.0)
    assert SENT.reveal() not in repr(exchange)
    assert "new-token" not in repr(exchange)
    assert "status=200" in repr(exchange)


def test_an_echoed_secret_is_masked() -> None:
    """A debugging proxy may repeat the request, and the credential must not get into our logs."""
    assert quote("denied: Basic c2VjcmV0LWtleQ== (bad)") == "denied: Basic *** (bad)"


def test_text_that_looks_like_a_secret_is_masked() -> None:
    """A token that we did not send, such as a new one, is just as secret."""
    assert quote(f"token {'Ab3_-' * 17}x expired") == "token *** expired"


def test_a_uuid_is_not_masked() -> None:
    """An operator needs the UUID of the app or the request to ask the vendor about it."""
    uuid = "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11"
    assert quote(f"app {uuid} is disabled") == f"app {uuid} is disabled"


def test_unprintable_characters_become_spaces() -> None:
    """A hostile answer must neither forge a log line nor move the operator's cursor."""
    assert quote("one\r\n\x1b[31mtwo\u2028three") == "one [31mtwo three"


def test_long_text_ends_with_an_ellipsis() -> None:
    """Log lines stay readable, and the reader sees that there was more."""
    line = quote("word " * 100, limit=20)
    assert line == "word word word word…"
    assert quote("x" * 20, limit=20) == "x" * 20


def test_an_empty_secret_masks_nothing() -> None:
    """The empty string occurs everywhere in a text, which must not fill with masks."""
    assert quote("fine", Secret("")) == "fine"


def test_an_excerpt_has_no_markup() -> None:
    """The operator needs the title of a proxy's page, not its tags."""
    page = b"<html><head><title>Log in &amp; pay</title></head><body class='x'>Hotel</body>"
    assert excerpt(page) == "Log in & pay Hotel"


def test_a_secret_written_in_entities_is_masked() -> None:
    """A page that escapes what it echoes leaks the credential all the same."""
    assert excerpt(b"<p>c2VjcmV0LWtleQ&#61;&#61; is wrong</p>") == "*** is wrong"


def test_a_secret_at_the_end_of_an_excerpt_is_masked() -> None:
    """Cutting the text before masking would leave half a credential."""
    body = b"<" + b"x" * 4090 + b">" + SENT.reveal().encode()
    assert "c2Vj" not in excerpt(body)


def test_a_token_at_the_end_of_an_excerpt_is_masked() -> None:
    """A new token is recognised only by its length, which a cut would change."""
    body = b"x " * 2035 + b'{"access_token":"' + b"Zq3-" * 21 + b'Zq"}'
    assert "Zq3" not in excerpt(body)


def test_a_binary_body_has_no_excerpt() -> None:
    """Binary data would tell an operator nothing."""
    assert excerpt(b"\x1f\x8b\0\0binary") == ""


@given(st.text(), st.text(min_size=1), st.integers(min_value=1, max_value=200))
def test_any_text_becomes_one_short_printable_line(text: str, secret: str, limit: int) -> None:
    """A message keeps to its limits, whatever the server sends."""
    line = quote(f"{text}{secret}{text}", Secret(secret), limit)
    assert len(line) <= limit
    assert line.isprintable()
    assert line == line.strip()


@given(st.binary(), st.sampled_from([b"", b"\xff\xfe", b"<", b"&#x110000;", b"&#0;"]))
def test_any_body_has_a_printable_excerpt(body: bytes, start: bytes) -> None:
    """Describing a broken answer must not fail as well."""
    assert excerpt(start + body).isprintable()
