"""Heads of requests, by the text of RFC 9112 and RFC 9110: which are answered, which refused.

Each is sent with another request behind it, which is for a path that does not exist (404) and ends
the connection. So "200 404" says that the request was read to its end and no further, and "400"
that nothing was read behind a refused one, and that the server closed the connection.
"""

import pytest

from support.http_doors import Door
from support.http_wire import exchange, statuses

AFTER = b"GET /absent HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def get(*fields: bytes) -> bytes:
    """Return a request with these fields beside Host."""
    return b"".join(line + b"\r\n" for line in (b"GET PAGE HTTP/1.1", b"Host: x", *fields, b""))


def line(request_line: bytes) -> bytes:
    """Return a request with this request line."""
    return request_line + b"\r\nHost: x\r\n\r\n"


def hosts(*fields: bytes) -> bytes:
    """Return a request with these fields and no other Host."""
    return b"".join(text + b"\r\n" for text in (b"GET PAGE HTTP/1.1", *fields, b""))


REQUEST_LINES = {
    # RFC 9112, section 2.2: at least one empty line before the request line is ignored.
    b"\r\n" + get(): "200 404",
    get() + b"\r\n": "200 404",
    b" " + get(): "400",
    b"\t" + get(): "400",
    # Section 3: single spaces between the words, or else 400, or any whitespace.
    line(b"GET  PAGE HTTP/1.1"): "200 404|400",
    line(b"GET PAGE  HTTP/1.1"): "200 404|400",
    line(b"GET\tPAGE HTTP/1.1"): "400",
    line(b"GET PAGE\tHTTP/1.1"): "400",
    line(b"GET PAGE\x0bHTTP/1.1"): "400",
    line(b"GET PAGE HTTP/1.1 "): "400",
    line(b"GET PAGE HTTP/1.1 x"): "400",
    line(b"GET"): "400",
    line(b"GET HTTP/1.1"): "400",
    line(b"PAGE HTTP/1.1"): "400",
    line(b"HTTP/1.1 200 OK"): "400",
    # Section 2.3: the version; RFC 9110, section 15.6.6: 505.
    b"GET PAGE\r\n\r\n": "400|505",
    line(b"GET PAGE HTTP/0.9"): "400|505",
    line(b"GET PAGE HTTP/1.2"): "400|505",
    line(b"GET PAGE HTTP/1.10"): "400|505",
    line(b"GET PAGE HTTP/1"): "400|505",
    line(b"GET PAGE HTTP/01.1"): "400|505",
    line(b"GET PAGE HTTP/1.1x"): "400|505",
    line(b"GET PAGE HTTP/1,1"): "400|505",
    line(b"GET PAGE HTTP/ 1.1"): "400|505",
    line(b"GET PAGE HTTP/+1.1"): "400|505",
    line(b"GET PAGE HTTP/2.0"): "400|505",
    line(b"GET PAGE HTTP/3.0"): "400|505",
    line(b"GET PAGE http/1.1"): "400|505",
    line(b"GET PAGE ICE/1.0"): "400|505",
    # llhttp reads RTSP as HTTP of the same version, which harms nobody.
    line(b"GET PAGE RTSP/1.0"): "400|505|200",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "400|505",
    # A TLS client on a port without TLS.
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": "400",
}

METHODS = {
    # RFC 9110, section 9.1: 405 for a known method that the path does not take, 501 for unknown
    # ones; names are case-sensitive. Behind an unknown one nothing has to be read.
    line(b"POST PAGE HTTP/1.1"): "405 404",
    line(b"PUT PAGE HTTP/1.1"): "405 404",
    line(b"DELETE PAGE HTTP/1.1"): "405 404",
    line(b"PATCH PAGE HTTP/1.1"): "405 404",
    line(b"OPTIONS PAGE HTTP/1.1"): "405 404",
    line(b"TRACE PAGE HTTP/1.1"): "405 404",
    line(b"PROPFIND PAGE HTTP/1.1"): "405 404",
    line(b"FROB PAGE HTTP/1.1"): "400|501|405 404",
    line(b"get PAGE HTTP/1.1"): "400|501|405 404",
    line(b"GETX PAGE HTTP/1.1"): "400|501|405 404",
    line(b"G(T PAGE HTTP/1.1"): "400",
    line(b"G\xffT PAGE HTTP/1.1"): "400",
    line(b"G\0T PAGE HTTP/1.1"): "400",
}

TARGETS = {
    # RFC 9112, section 3.2: origin form, absolute form, authority form, asterisk form.
    line(b"GET http://xPAGE HTTP/1.1"): "200 404",
    line(b"GET HTTP://xPAGE HTTP/1.1"): "200 404",
    line(b"GET https://x:1PAGE HTTP/1.1"): "200 404",
    # Section 3.2.2: the target's host counts, and what Host says is ignored.
    line(b"GET http://yPAGE HTTP/1.1"): "200 404",
    line(b"GET http://[::1]:80PAGE HTTP/1.1"): "200 404",
    line(b"GET http:///PAGE HTTP/1.1"): "400|404 404",
    line(b"GET ftp://xPAGE HTTP/1.1"): "400|404 404",
    line(b"GET x:80 HTTP/1.1"): "400",
    line(b"GET * HTTP/1.1"): "400|404 404",
    line(b"OPTIONS * HTTP/1.1"): "400|404 404|405 404",
    line(b"CONNECT x:80 HTTP/1.1"): "400|404|405|501",
    line(b"CONNECT PAGE HTTP/1.1"): "400|404|405|501",
    line(b"GET absent HTTP/1.1"): "400",
    line(b"GET \\absent HTTP/1.1"): "400",
    line(b"GET ?absent HTTP/1.1"): "400",
    line(b"GET /%zz HTTP/1.1"): "400|404 404",
    line(b"GET //xPAGE HTTP/1.1"): "404 404",
    line(b"GET /..PAGE HTTP/1.1"): "404 404",
    line(b"GET PAGE#top HTTP/1.1"): "400",
    line(b"GET PAGE\0 HTTP/1.1"): "400",
    line(b"GET PAGE\x7f HTTP/1.1"): "400",
    line(b"GET PAGE\xc3\xa9 HTTP/1.1"): "400",
    line(b'GET /"<>^`{|} HTTP/1.1'): "400|404 404",
}

HOSTS = {
    # RFC 9112, section 3.2: 400 where Host is missing, there twice, or not a valid host.
    hosts(): "400",
    hosts(b"Host: x", b"Host: x"): "400",
    hosts(b"Host: x", b"Host: y"): "400",
    hosts(b"Host: x", b"A: b", b"hOST: x"): "400",
    hosts(b"Host: a@x"): "400",
    hosts(b"Host: x/y"): "400",
    hosts(b"Host: x y"): "400",
    hosts(b"Host: x?y"): "400",
    hosts(b"Host: x#y"): "400",
    hosts(b"Host: x\\y"): "400",
    hosts(b"Host: x\xff"): "400",
    hosts(b"Host: http://x"): "400",
    hosts(b"Host:"): "200 404",
    hosts(b"Host: [::1]:8080"): "200 404",
    hosts(b"host:localhost"): "200 404",
    hosts(b"HOST:\t127.0.0.1:1 \t"): "200 404",
    b"GET PAGE HTTP/1.0\r\n\r\n": "200",
    b"GET PAGE HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n": "400",
}

FIELDS = {
    # RFC 9112, section 5.1: no whitespace before the colon.
    get(b"A : b"): "400",
    get(b"A\t: b"): "400",
    get(b"A"): "400",
    get(b": b"): "400",
    get(b"A B: c"): "400",
    # Sections 2.2 and 5.2: whitespace before the first field, and obsolete folding.
    b"GET PAGE HTTP/1.1\r\n Host: x\r\n\r\n": "400",
    b"GET PAGE HTTP/1.1\r\n A: b\r\nHost: x\r\n\r\n": "400",
    get(b"A: b", b" c"): "400",
    get(b"A: b", b"\tc"): "400",
    get(b"A:", b" b"): "400",
    get(b"A: b", b" "): "400",
    hosts(b"Host:", b" x"): "400",
    # Section 2.2: a bare CR is no line's end; a bare LF may be one, and is none here.
    get().replace(b"1.1\r\n", b"1.1\n"): "400",
    get().replace(b"1.1\r\n", b"1.1\r"): "400",
    get().replace(b"x\r\n", b"x\n"): "400",
    get().replace(b"x\r\n", b"x\r"): "400",
    get().replace(b"x\r\n", b"x\r\r\n"): "400",
    get()[:-2] + b"\n": "400",
    get()[:-2] + b"\r\r\n": "400",
    get(b"A: b\nC: d"): "400",
    get(b"A: b\rC: d"): "400",
    get(b"A\r: b"): "400",
    # RFC 9110, sections 5.1 and 5.5: the characters of names and values.
    get(b"!#$%&'*+-.^_`|~09azAZ: b"): "200 404",
    get(b"A: \tb\xff\t c~!\x80 "): "200 404",
    get(b"A:"): "200 404",
    **{get(b"A%c: b" % byte): "400" for byte in (0, 1, 8, *b'"(),/;<=>?@[\\]{}', 127, 128, 255)},
    **{
        get(b"A: b%cc" % byte): "400"
        for byte in (0, 1, 7, 8, 11, 12, 14, 27, 31, 127)
    },
}  # fmt: skip

TARGET_LIMIT, HEAD_LIMIT, FIELDS_LIMIT = 2048, 8192, 64


def target(length: int) -> bytes:
    """Return a request whose target has this length."""
    return line(b"GET /absent/" + b"x" * (length - len("/absent/")) + b" HTTP/1.1")


LIMITS = {
    target(TARGET_LIMIT): "404 404",
    target(TARGET_LIMIT + 1): "414",
    target(100_000): "414",
    get(*[b"A: b"] * (FIELDS_LIMIT - 1)): "200 404",
    get(*[b"A: b"] * FIELDS_LIMIT): "431",
    get(*[b"A%d: b" % number for number in range(2000)]): "431",
    # Well under and over: how a server counts the bytes of a head is its own affair.
    get(b"A: " + b"x" * (HEAD_LIMIT - 200)): "200 404",
    get(b"A: " + b"x" * HEAD_LIMIT): "431",
    get(b"A: " + b"x" * 100_000): "431",
    get(b"A" * HEAD_LIMIT + b": b"): "431",
    get(*[b"A: " + b"x" * 400] * 19): "200 404",
    get(*[b"A: " + b"x" * 400] * 21): "431",
}

TABLE = {**REQUEST_LINES, **METHODS, **TARGETS, **HOSTS, **FIELDS, **LIMITS}


@pytest.mark.parametrize(("raw", "expected"), TABLE.items(), ids=lambda value: repr(value)[:60])
def test_a_head_is_answered_as_the_standard_says(door: Door, raw: bytes, expected: str) -> None:
    """A lenient reading of one server is another's second request."""
    found = exchange(door.address, door.raw(raw) + AFTER)
    assert statuses(found) in expected.split("|")
    assert found[-1].closes
    for response in found:
        if response.status >= 400 and door.problem:
            assert response.fields["content-type"] == door.problem


def test_the_methods_of_a_path_are_named(door: Door) -> None:
    """RFC 9110, section 15.5.6: 405 comes with Allow."""
    (response, _) = exchange(door.address, door.raw(line(b"POST PAGE HTTP/1.1")) + AFTER)
    assert {"GET", "HEAD"} <= set(response.fields["allow"].replace(" ", "").split(","))
