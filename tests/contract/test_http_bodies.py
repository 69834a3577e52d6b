"""Bodies of requests, by the text of RFC 9112: how long they are, and that nobody needs one.

Each request is a POST to a page (405), with another request behind it, which is for a path that
does not exist (404) and ends the connection. So "405 404" says that the body was read to its end
and no further, and "400" that the server closed the connection and read nothing behind.
"""

import socket
import time

import pytest

from support.http_doors import Door
from support.http_wire import connect, exchange, first_response, read_all, responses, statuses

AFTER = b"GET /absent HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LIMIT = 8192


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """Return a request with these fields and this body."""
    head = (b"POST PAGE HTTP/" + version, b"Host: x", *fields, b"")
    return b"".join(line + b"\r\n" for line in head) + body


def length(value: bytes) -> bytes:
    """Return a request with five bytes of body and this Content-Length."""
    return post(b"Content-Length:" + value, body=b"hello")


def chunked(body: bytes) -> bytes:
    """Return a request with a chunked body."""
    return post(b"Transfer-Encoding: chunked", body=body)


def coding(*fields: bytes) -> bytes:
    """Return a request with these fields and a body in one chunk of five bytes."""
    return post(*fields, body=b"5\r\nhello\r\n0\r\n\r\n")


# RFC 9110, section 8.6: one or more digits. RFC 9112, section 6.3: a list of equal values may be
# taken for one of them, and anything else is refused.
LENGTHS = {
    length(b" 5"): "405 404",
    length(b"5"): "405 404",
    length(b"\t5 "): "405 404",
    length(b" 005"): "405 404|400",
    post(b"cONTENT-lENGTH: 5", body=b"hello"): "405 404",
    post(b"Content-Length: 0"): "405 404",
    post(b"Content-Length: 5", body=b"\r\n\r\n\n"): "405 404",
    **{
        length(value): "400"
        for value in (
            b" +5", b" -5", b" -0", b" 0x5", b" 5,5", b" 5, 5", b" 5,6", b" 5,", b" ,5", b" 5 5",
            b" 5.0", b" 5e0", b" 5_0", b" five", b" 5;a", b' "5"', b"", b" ", b" \x0b5", b" 5\x0c",
            b" 5\0", b" 5\xa0", b" \xb2", b" \xd9\xa5", b"\r\n 5", b" 5\n", b" 5\r",
        )
    },
    post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"): "400",
    post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"): "400",
    post(b"Content-Length : 5", body=b"hello"): "400",
    post(b"Content-Length: 5", b"Content-Length: ", body=b"hello"): "400",
    # Unknown fields: the bytes behind are no body, and no request.
    post(b"Content_Length: 5", body=b"hello"): "405 400",
    # Too long: refused before it is sent.
    post(b"Content-Length: %d" % LIMIT, body=b"x" * LIMIT): "405 404",
    post(b"Content-Length: %d" % (LIMIT + 1)): "413",
    post(b"Content-Length: 2000000000"): "413",
    **{length(b" %d" % 2**bits): "413|400" for bits in (31, 32, 63, 64, 65, 200)},
    length(b" %d" % (2**64 + 5)): "413|400",
}  # fmt: skip

# RFC 9112, section 6.1: 501 for a coding that the server does not know; section 6.3: 400 where
# chunked is not the last one; section 7.1: chunked takes no parameters.
CODINGS = {
    coding(b"Transfer-Encoding: chunked"): "405 404",
    coding(b"Transfer-Encoding:chunked"): "405 404",
    coding(b"Transfer-Encoding:\tchunked "): "405 404|400",
    coding(b"TRANSFER-encoding: ChUnKeD"): "405 404",
    **{
        coding(*fields): "400|501"
        for fields in (
            *(
                (b"Transfer-Encoding: " + value,)
                for value in (
                    b"xchunked", b"chunkedx", b"chunk", b"x chunked", b"chunked x", b"gzip",
                    b"chunked, identity", b"identity, chunked", b"identity", b"chunked, chunked",
                    b"gzip, chunked", b"chunked, gzip", b"chunked;a=b", b'"chunked"', b"'chunked'",
                    b"", b",", b"chunked,", b",chunked", b"\x0bchunked", b"chunked\x0c",
                    b"chunked\0", b"\xa0chunked", b"ch\x96nked", b"chunked\r", b"\n chunked",
                )
            ),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
            (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: cow", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow"),
            (b"Transfer-Encoding : chunked",),
            (b"Transfer-Encoding\t: chunked",),
            (b"Transfer-Encoding\x0b: chunked",),
            (b"A: b", b" Transfer-Encoding: chunked"),
            (b"Transfer-Encoding:", b" chunked"),
            # Section 6.3: with a length as well it ought to be handled as an error.
            (b"Content-Length: 15", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 15"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 0"),
            (b"Content-Length: 15", b"Transfer-Encoding: identity"),
            (b"Content-Length: 15", b"Transfer-Encoding:"),
        )
    },
    # Section 6.1: in HTTP/1.0 it is faulty.
    post(b"Transfer-Encoding: chunked", version=b"1.0", body=b"0\r\n\r\n"): "400|501",
    post(
        b"Connection: keep-alive",
        b"Transfer-Encoding: chunked",
        version=b"1.0",
        body=b"0\r\n\r\n",
    ): "400|501",
    # Not Transfer-Encoding: no body, and the bytes behind are no request.
    coding(b"Transfer_Encoding: chunked"): "405 400",
    coding(b"Content-Encoding: chunked"): "405 400",
    coding(b"TE: chunked"): "405 400",
}  # fmt: skip

# RFC 9112, sections 7.1 and 7.1.1.
CHUNKS = {
    chunked(b"0\r\n\r\n"): "405 404",
    chunked(b"0000\r\n\r\n"): "405 404",
    chunked(b"0005\r\nhello\r\n0\r\n\r\n"): "405 404",
    chunked(b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"): "405 404",
    chunked(b"5;a\r\nhello\r\n0;a=b\r\n\r\n"): "405 404",
    chunked(b'5;a="b; c\\""\r\nhello\r\n0\r\n\r\n'): "405 404",
    chunked(b"5;" + b"a" * 100 + b"\r\nhello\r\n0\r\n\r\n"): "405 404",
    chunked(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"): "405 404",
    chunked(b"2000\r\n" + b"x" * LIMIT + b"\r\n0\r\n\r\n"): "405 404",
    chunked(b"2001\r\n" + b"x" * (LIMIT + 1) + b"\r\n0\r\n\r\n"): "413",
    chunked(b"FFFFFFFF\r\n" + b"x" * 20_000): "413",
    chunked(b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n"): "400|413|431",
    chunked(b"1;" + b"a" * 100 + b"\r\nx\r\n" + b"1;a=bcde\r\nx\r\n" * 8000): "400|413|431",
    **{
        chunked(body): "400"
        for body in (
            *(
                size + b"\r\nhello\r\n0\r\n\r\n"
                for size in (
                    b"0x5", b"+5", b"-5", b" 5", b"5 ", b"5\t", b"5_0", b"5h", b"5.0", b"5,a",
                    b"5a=b", b"", b";a", b"5 ;a", b"5;", b"5;;", b"5; a", b"5;a b", b"5;a = b",
                    b"5;\0", b"5;a=\0", b"5;a=\x01", b"5;\xff", b'5;a="b', b'5;a="b\x01"',
                    # The line's end within the extension: TERM.EXT, EXT.TERM and their siblings.
                    b"5;\nx", b"5;a\nx", b"5;a=b\nx", b"5;\rx", b"5;a\rx", b'5;a="\nx"', b"5\n",
                    b'5;a="\r\nx"', b"5;a\r", b"5\r", b"5\x0b", b"\r\n5", b"10000000000000005",
                    b"FFFFFFFFFFFFFFFFF",
                )
            ),
            b"-0\r\n\r\n",
            b"0_2e\r\n\r\n",
            b"\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\rhello\r\n0\r\n\r\n",
            # The data's end: one byte short, one too many, or with half an end.
            b"5\r\nhell\r\n0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhelloXX0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r0\r\n\r\n",
            b"5\r\nhello\r\n0\n\n",
            b"5\r\nhello\r\n0\r\n\n",
            b"5\r\nhello\r\n0\n\r\n",
            b"0;a\n\r\n",
        )
    },
    # Section 7.1.2: trailers are ignored, or refused where they would change the body's length.
    chunked(b"0\r\nA: b\r\nHost: y\r\nConnection: close\r\n\r\n"): "405|405 404|400",
    **{
        chunked(b"0\r\n" + trailer + b"\r\n\r\n"): "400"
        for trailer in (
            b"Content-Length: 9", b"Transfer-Encoding: chunked", b"A : b", b" A: b", b"A", b": b",
            b"A: b\r\n c", b"A: b\nC: d", b"A: b\rC: d", b"A: \0",
        )
    },
    chunked(b"0\r\n" + b"A: b\r\n" * 5000 + b"\r\n"): "400|413|431",
    chunked(b"0\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"): "400|413|431",
}  # fmt: skip

TABLE = {**LENGTHS, **CODINGS, **CHUNKS}


@pytest.mark.parametrize(("raw", "expected"), TABLE.items(), ids=lambda value: repr(value)[:90])
def test_a_body_ends_where_the_standard_says(door: Door, raw: bytes, expected: str) -> None:
    """Two readings of a body's length are what request smuggling is made of."""
    found = exchange(door.address, door.raw(raw) + AFTER)
    assert statuses(found) in expected.split("|")
    assert found[-1].closes
    if door.problem:
        assert all(response.fields["content-type"] == door.problem for response in found)


def test_a_compressed_body_is_thrown_away_as_it_is(door: Door) -> None:
    """RFC 9110, section 8.4: what is not read need not be decoded, and a bomb does nothing."""
    bomb = b"\x1f\x8b not gzip at all"
    for name in (b"gzip", b"deflate", b"br", b"zstd", b"x"):
        raw = post(b"Content-Encoding: " + name, b"Content-Length: %d" % len(bomb), body=bomb)
        assert statuses(exchange(door.address, door.raw(raw) + AFTER)) == "405 404"


# RFC 9110, section 10.1.1, and section 15.5.18.
EXPECTATIONS = {
    post(b"Expect: 100-continue", b"Content-Length: 5"): "100 405",
    post(b"Expect: 100-Continue", b"Content-Length: 5"): "100 405",
    post(b"Expect: 100-continue", b"Transfer-Encoding: chunked"): "100 405",
    post(b"Expect: 100-continue", b"Content-Length: 9000"): "413",
    post(b"Expect: x", b"Content-Length: 5"): "417",
    post(b"Expect: 100-continue, x", b"Content-Length: 5"): "417",
    post(b"Expect: 100-continued", b"Content-Length: 5"): "417",
}


@pytest.mark.parametrize(("raw", "expected"), EXPECTATIONS.items(), ids=repr)
def test_an_expectation_is_met_or_refused(door: Door, raw: bytes, expected: str) -> None:
    """A client such as curl waits a second for 100 before it sends a body; some wait for ever."""
    with connect(door.address) as client:
        client.sendall(door.raw(raw))
        first = client.recv(65536)
        if expected.startswith("100"):
            assert statuses(responses(first)) == "100"
            client.sendall(b"0\r\n\r\n" + AFTER)
            assert statuses(responses(read_all(client))) == "405 404"
        else:
            assert statuses(responses(first + read_all(client))) == expected


def test_nobody_waits_for_100_without_a_body(door: Door) -> None:
    """RFC 9110, section 10.1.1: it may be left out where there is no body, or where it came."""
    for raw in (
        door.raw(post(b"Expect: 100-continue", b"Content-Length: 0")),
        door.raw(post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello")),
        door.raw(
            post(b"Expect: 100-continue", b"Content-Length: 5", version=b"1.0", body=b"12345")
        ),
    ):
        found = [answer for answer in exchange(door.address, raw, ends=True) if answer.status > 199]
        assert statuses(found) == "405"


def test_a_body_that_is_too_long_is_refused_at_once(door: Door) -> None:
    """The client reads the refusal although it goes on sending, and the server reads no more."""
    with connect(door.address) as client:
        client.sendall(door.raw(post(b"Content-Length: 100000000")))
        began = time.monotonic()
        received = client.recv(65536)
        client.settimeout(5)
        sent = 0
        try:
            while sent < 100_000_000:
                sent += client.send(b"x" * 65536)
        except OSError:
            pass
        assert first_response(received)[0].status == 413
        assert time.monotonic() - began < 10
        assert sent < 100_000_000


def test_a_body_in_pieces_is_thrown_away(door: Door) -> None:
    """Whatever the packets it comes in."""
    head, body = door.raw(post(b"Content-Length: 8000")), b"GET / HTTP/1.1\r\n\r\n" * 500
    with connect(door.address) as client:
        client.sendall(head)
        for start in range(0, 8000, 1000):
            client.sendall(body[start : min(start + 1000, 8000)])
            time.sleep(0.001)
        client.sendall(AFTER)
        client.shutdown(socket.SHUT_WR)
        assert statuses(responses(read_all(client))) == "405 404"
