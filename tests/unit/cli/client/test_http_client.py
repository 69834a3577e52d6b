"""HTTP responses, read from any stream of bytes."""

from collections.abc import Sequence
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refresherd.cli.client.http_client import MAX_BODY, Response
from refresherd.cli.errors import InvalidResponse

OK = b"HTTP/1.1 200 OK\r\n"

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def chunked(pieces: Sequence[bytes]) -> bytes:
    """Return a chunked response."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return CHUNKED + chunks + b"0\r\n\r\n"


def body(wire: bytes, limit: int = MAX_BODY) -> bytes:
    """Return the body of a response."""
    return Response(BytesIO(wire)).body(limit)


def test_status_and_headers_are_read() -> None:
    """The status decides what a command does."""
    response = Response(
        BytesIO(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After:  7 \r\nX:\r\n\r\n")
    )
    assert response.status == 503
    assert response.headers == {"retry-after": "7", "x": ""}


@given(st.binary(max_size=300))
def test_a_body_with_a_length_is_complete(content: bytes) -> None:
    """A token must arrive byte for byte, without anything that follows it."""
    wire = OK + b"Content-Length: %d\r\n\r\n" % len(content) + content
    assert body(wire + b"more") == content


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_a_chunked_body_is_complete(pieces: list[bytes]) -> None:
    """Aiohttp sends a body of unknown length in chunks."""
    assert body(chunked(pieces)) == b"".join(pieces)


def test_chunk_extensions_and_trailers_are_ignored() -> None:
    """RFC 9112 allows them; nobody here needs them."""
    assert body(CHUNKED + b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n") == b"abc"


@given(st.binary(max_size=300))
def test_a_body_without_a_length_ends_with_the_connection(content: bytes) -> None:
    """HTTP/1.0 servers mark the end by closing."""
    assert body(b"HTTP/1.0 200 OK\r\n\r\n" + content) == content


@given(st.lists(st.text(alphabet="ab\n", max_size=6)), st.integers(1, 9))
def test_lines_are_complete_however_they_arrive(texts: list[str], size: int) -> None:
    """Half a line is half a token, and a chunk may end anywhere in a line."""
    content = "".join(texts).encode()
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    lines = list(Response(BytesIO(chunked(pieces))).lines())
    assert b"".join(lines) == content[: content.rfind(b"\n") + 1]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)


@pytest.mark.parametrize("cut", range(1, len(chunked([b"token"]))))
def test_a_truncated_response_is_an_error(cut: int) -> None:
    """A daemon that is killed while it responds must not hand out half a token."""
    with pytest.raises(ConnectionAbortedError):
        body(chunked([b"token"])[:-cut])


def test_a_body_shorter_than_its_length_is_an_error() -> None:
    """The same for a response that states its length."""
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
def test_anything_but_http_is_an_invalid_response(wire: bytes) -> None:
    """Another service may listen on the socket."""
    with pytest.raises(InvalidResponse):
        body(wire)


def test_a_body_has_a_maximum_size() -> None:
    """An endless one would fill the memory."""
    with pytest.raises(InvalidResponse, match="exceeds 1000 bytes"):
        body(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1001, limit=1000)
    assert len(body(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1000, limit=1000)) == 1000


def test_a_line_has_a_maximum_length() -> None:
    """In a stream of tokens each line is short."""
    with pytest.raises(InvalidResponse, match="line exceeds"):
        list(Response(BytesIO(chunked([b"x" * 40_000, b"x" * 40_000]))).lines())


@given(st.binary(max_size=200))
@example(CHUNKED + b"ffffffff\r\nabc")
@example(OK + b"Content-Length: 999999999999\r\n\r\nabc")
def test_any_bytes_are_a_response_or_an_error(wire: bytes) -> None:
    """Whatever listens there, the command ends with a line and not with a traceback."""
    for tail in (wire, OK + wire, CHUNKED + wire):
        try:
            body(tail)
        except (InvalidResponse, ConnectionAbortedError):
            continue
