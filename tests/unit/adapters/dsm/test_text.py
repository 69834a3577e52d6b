"""Other people's words, made fit for a message."""

from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.dsm.text import plain, words
from refresherd.domain.model import Secret

SENT = Secret("c2VjcmV0LWtleQ==")


def test_a_secret_that_is_echoed_is_masked() -> None:
    """A debugging proxy that repeats the request must not put the credential into our logs."""
    assert plain("denied: Basic c2VjcmV0LWtleQ== (bad)", SENT) == "denied: Basic *** (bad)"


def test_what_looks_like_a_secret_is_masked() -> None:
    """A token that we did not send, such as one just issued, is as secret as ours."""
    assert plain(f"token {'Ab3_-' * 17}x expired", SENT) == "token *** expired"


def test_a_uuid_is_left_to_read() -> None:
    """An operator needs the app's or the request's UUID to ask the vendor about it."""
    uuid = "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11"
    assert plain(f"app {uuid} is disabled", SENT) == f"app {uuid} is disabled"


def test_terminal_escapes_and_line_breaks_become_spaces() -> None:
    """A hostile answer must neither forge a log line nor move an operator's cursor."""
    assert plain("one\r\n\x1b[31mtwo\u2028three", SENT) == "one [31mtwo three"


def test_a_long_text_is_cut_with_a_sign_that_it_was() -> None:
    """A log line stays readable, and its reader knows that there was more."""
    line = plain("word " * 100, SENT, 20)
    assert line == "word word word word…"
    assert plain("x" * 20, SENT, 20) == "x" * 20


def test_an_unset_secret_masks_nothing() -> None:
    """An empty string is in every text, and must not fill it with masks."""
    assert plain("fine", Secret("")) == "fine"


def test_markup_is_left_out() -> None:
    """Of a proxy's page the operator needs the title, not the tags."""
    page = b"<html><head><title>Log in &amp; pay</title></head><body class='x'>Hotel</body>"
    assert words(page, SENT) == "Log in & pay Hotel"


def test_a_secret_hidden_in_entities_is_masked() -> None:
    """A page that escapes what it echoes gives the credential away no less."""
    assert words(b"<p>c2VjcmV0LWtleQ&#61;&#61; is wrong</p>", SENT) == "*** is wrong"


def test_a_secret_across_the_end_of_what_is_read_is_masked() -> None:
    """Cutting first would leave half of a credential."""
    body = b"<" + b"x" * 4090 + b">" + SENT.reveal().encode()
    assert "c2Vj" not in words(body, SENT)


def test_a_token_across_the_end_of_what_is_read_is_masked() -> None:
    """One just issued is known by its length alone, which a cut takes away."""
    body = b"x " * 2035 + b'{"access_token":"' + b"Zq3-" * 21 + b'Zq"}'
    assert "Zq3" not in words(body, SENT)


def test_binary_answers_have_no_words() -> None:
    """Bytes that are no text would tell an operator nothing."""
    assert words(b"\x1f\x8b\0\0binary", SENT) == ""


@given(st.text(), st.text(min_size=1), st.integers(min_value=1, max_value=200))
def test_any_text_becomes_one_printable_line_without_the_secret(
    text: str, secret: str, limit: int
) -> None:
    """Whatever a server says, the message stays within its bounds."""
    line = plain(f"{text}{secret}{text}", Secret(secret), limit)
    assert len(line) <= limit
    assert line.isprintable()
    assert line == line.strip()


@given(st.binary(), st.sampled_from([b"", b"\xff\xfe", b"<", b"&#x110000;", b"&#0;"]))
def test_any_body_has_words_or_none(body: bytes, start: bytes) -> None:
    """Describing a broken answer must not fail in its turn."""
    assert words(start + body, SENT).isprintable()
