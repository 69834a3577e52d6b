"""HTTP answers, read from any stream of bytes."""

from collections.abc import Sequence
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refresherd.cli.client import answer as module
from refresherd.cli.client.answer import Answer
from refresherd.cli.client.failures import Unintelligible

OK = b"HTTP/1.1 200 OK\r\n"

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def chunked(pieces: Sequence[bytes]) -> bytes:
    """Return a chunked answer."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return CHUNKED + chunks + b"0\r\n\r\n"


def body(wire: bytes) -> bytes:
    """Return the body of an answer."""
    return Answer(BytesIO(wire)).body()


def test_status_and_headers_are_read() -> None:
    """What the daemon says besides the token decides what a command does."""
    answer = Answer(BytesIO(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After:  7 \r\nX:\r\n\r\n"))
    assert answer.status == 503
    assert answer.headers == {"retry-after": "7", "x": ""}


@given(st.binary(max_size=300))
def test_a_body_of_a_stated_length_is_whole(content: bytes) -> None:
    """A token must come to the byte, and nothing that follows it."""
    wire = OK + b"Content-Length: %d\r\n\r\n" % len(content) + content
    assert body(wire + b"more") == content


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_a_chunked_body_is_whole(pieces: list[bytes]) -> None:
    """Aiohttp sends what it doesn't know the length of in chunks."""
    assert body(chunked(pieces)) == b"".join(pieces)


def test_chunk_extensions_and_trailers_are_passed_over() -> None:
    """RFC 9112 allows them; nobody here needs them."""
    assert body(CHUNKED + b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n") == b"abc"


@given(st.binary(max_size=300))
def test_without_a_length_the_end_is_the_end(content: bytes) -> None:
    """An HTTP/1.0 server closes the connection."""
    assert body(b"HTTP/1.0 200 OK\r\n\r\n" + content) == content


@given(st.lists(st.text(alphabet="ab\n", max_size=6)), st.integers(1, 9))
def test_lines_are_whole_however_they_arrive(texts: list[str], size: int) -> None:
    """Half a line is half a token, and a chunk's end is no line's end."""
    content = "".join(texts).encode()
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    lines = list(Answer(BytesIO(chunked(pieces))).lines())
    assert b"".join(lines) == content[: content.rfind(b"\n") + 1]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)


@pytest.mark.parametrize("cut", range(1, len(chunked([b"token"]))))
def test_an_answer_that_was_cut_off_is_not_taken_for_a_whole_one(cut: int) -> None:
    """A daemon that is killed while it answers must not have handed out half a token."""
    with pytest.raises(ConnectionAbortedError):
        body(chunked([b"token"])[:-cut])


def test_a_stated_length_that_does_not_come_is_noticed() -> None:
    """The same, for the usual answer."""
    with pytest.raises(ConnectionAbortedError):
        body(OK + b"Content-Length: 5\r\n\r\ntoke")


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        OK + b"no header\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: many\r\n\r\n",
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"3\r\nabcd\r\n",
        OK + b"X: y\r\n" * 200 + b"\r\n",
        OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_called_so(wire: bytes) -> None:
    """Something else may listen where the daemon is looked for."""
    with pytest.raises(Unintelligible):
        body(wire)


def test_an_answer_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory."""
    monkeypatch.setattr(module, "LONGEST_BODY", 1000)
    with pytest.raises(Unintelligible, match="does not end"):
        body(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1001)
    assert len(body(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1000)) == 1000


def test_a_line_without_an_end_is_given_up() -> None:
    """A stream of tokens has an end of line after each."""
    with pytest.raises(Unintelligible, match="does not end"):
        list(Answer(BytesIO(chunked([b"x" * 40_000, b"x" * 40_000]))).lines())


@given(st.binary(max_size=200))
@example(CHUNKED + b"ffffffff\r\nabc")
@example(OK + b"Content-Length: 999999999999\r\n\r\nabc")
def test_any_bytes_are_an_answer_or_refused(wire: bytes) -> None:
    """Whatever listens there, a command ends in a line and not in a traceback."""
    for tail in (wire, OK + wire, CHUNKED + wire):
        try:
            body(tail)
        except (Unintelligible, ConnectionAbortedError):
            continue
