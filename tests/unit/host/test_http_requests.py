"""How bytes become requests, and which are refused: RFC 9112, and the limits of this server."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.host.http.requests import (
    MAX_BODY,
    MAX_BYTES,
    MAX_FIELDS,
    MAX_HEAD,
    MAX_TARGET,
    Malformed,
    Request,
    RequestReader,
)

HEAD = b"GET /v1/apps?a=b HTTP/1.1\r\nHost: x\r\n"
REQUEST = HEAD + b"\r\n"


def read(*pieces: bytes) -> list[Request | Malformed]:
    """Return what is read from some pieces."""
    reader = RequestReader()
    for piece in pieces:
        reader.feed(piece)
    reader.close()
    return list(reader.ready)


def status(*pieces: bytes) -> int:
    """Return the code with which the only request is refused."""
    (malformed,) = read(*pieces)
    assert isinstance(malformed, Malformed)
    return malformed.status


def test_a_request_is_read() -> None:
    """The path is decoded, and the query is left to who knows what it means."""
    (request,) = read(b"GET /v1/a%20b?c=%64 HTTP/1.1\r\nHost: x\r\nAccept: a\r\naccept: b \r\n\r\n")
    assert isinstance(request, Request)
    assert (request.method, request.path, request.query) == ("GET", "/v1/a b", "c=%64")
    assert request.field("accept") == "a, b"
    assert (request.minor, request.keep_alive) == (1, True)


@given(st.lists(st.integers(1, len(REQUEST) * 3 - 1), max_size=8))
def test_packets_do_not_matter(cuts: list[int]) -> None:
    """Three requests are the same three, however the network cuts them."""
    data = REQUEST * 3
    places = [0, *sorted(set(cuts)), len(data)]
    pieces = [data[one:next_] for one, next_ in pairwise(places)]
    assert read(*pieces) == read(REQUEST) * 3


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_no_bytes_break_the_reader(pieces: list[bytes]) -> None:
    """Anybody can send anything; after a refusal nothing more is read."""
    read(*pieces)
    found = read(HEAD, *pieces, REQUEST)
    assert not any(isinstance(one, Malformed) for one in found[:-1])


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://other/v1/apps?x", "/v1/apps", "x"),
        (b"HTTPS://other", "/", ""),
        (b"http://other?x", "/", "x"),
        (b"/", "/", ""),
    ],
)
def test_an_absolute_target_is_read_like_its_path(target: bytes, path: str, query: str) -> None:
    """Clients behind a proxy's settings send it: RFC 9112, section 3.2.2."""
    (request,) = read(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert isinstance(request, Request)
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize(
    ("code", "request_bytes"),
    [
        (400, b"no HTTP\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, b"GET /#x HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (413, HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1)),
        (413, HEAD + b"Transfer-Encoding: chunked\r\n\r\n2001\r\n" + bytes(MAX_BODY + 1)),
        (414, b"GET /" + b"x" * MAX_TARGET + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        (417, HEAD + b"Expect: a miracle\r\n\r\n"),
        (431, HEAD + b"X: " + b"x" * MAX_HEAD + b"\r\n\r\n"),
        (431, HEAD + b"X: x\r\n" * MAX_FIELDS + b"\r\n"),
        (431, HEAD + b"X: " + b"x" * MAX_BYTES),
        (501, HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
    ],
)
def test_what_breaks_a_rule_or_a_limit_is_refused(code: int, request_bytes: bytes) -> None:
    """Each with the code that tells a client's author what to change."""
    assert status(request_bytes, REQUEST) == code


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n\r\nhello", b"5\r\nhello\r\n0\r\n\r\n"])
def test_a_small_body_is_read_and_ignored(framing: bytes) -> None:
    """Clients send empty objects where nothing is wanted; the next request begins behind them."""
    chunked = b"" if b"Length" in framing else b"Transfer-Encoding: chunked\r\n\r\n"
    first, second = read(HEAD + chunked + framing + REQUEST)
    assert isinstance(first, Request)
    assert second == read(REQUEST)[0]


def test_a_client_may_wait_before_it_sends_a_body() -> None:
    """It is told to go on: RFC 9110, section 10.1.1."""
    reader = RequestReader()
    reader.feed(HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    waiting = [reader.expects_continue]
    reader.feed(b"hello")
    assert [*waiting, reader.expects_continue] == [True, False]
    assert len(reader.ready) == 1


@pytest.mark.parametrize(
    "fields", [b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"]
)
def test_nothing_is_read_behind_the_last_request(fields: bytes) -> None:
    """The answer ends the connection."""
    (request,) = read(HEAD + fields + b"\r\n" + REQUEST)
    assert isinstance(request, Request)
    assert not request.keep_alive
