"""Request smuggling: no request hides another, whatever a proxy in front may have read in it.

The kinds of mutation are those of the public tools and papers: James Kettle's "HTTP Desync
Attacks" and "HTTP/1.1 must die" (TE.TE, CL.0, 0.CL), defparam's smuggler (a byte before, within
or behind each part of a field), the HTTP Garden's list of parser bugs, Jeppe Bonde Weikop's
"Funky chunks" (line ends in chunk extensions), and Grenfeldt's list of lengths.

The hidden request is for a page (200), the visible one a POST to it (405). A 200 is a success of
the attack, in whatever reading, unless RFC 9112 puts a request where the hidden one stands.
"""

import pytest

from support.http_doors import Door
from support.http_wire import exchange, statuses

HIDDEN = b"GET PAGE HTTP/1.1\r\nHost: x\r\n\r\n"

BYTES = (*range(0x21), *range(0x7F, 0x100))
"""Those that are not the characters of a name or value, and space."""

LEGAL = (0x09, 0x20)
"""Whitespace, which may stand around a value."""


def request(*fields: bytes, body: bytes) -> bytes:
    """Return a request with these fields and this body."""
    lines = (b"POST PAGE HTTP/1.1", b"Host: x", *fields, b"")
    return b"".join(line + b"\r\n" for line in lines) + body


def te_cl(field: bytes) -> bytes:
    """Return a request that ends before the hidden one if `field` counts, behind it if not."""
    body = b"0\r\n\r\n" + HIDDEN
    return request(field, b"Content-Length: LENGTH", body=body)


def cl_te(field: bytes) -> bytes:
    """Return a request whose hidden one is in a chunk, and behind the end by its length."""
    body = b"LEN\r\n" + HIDDEN + b"\r\n0\r\n\r\n"
    return request(b"Content-Length: 4", field, body=body)


def alone(field: bytes) -> bytes:
    """Return a request without Content-Length, with the hidden one in a chunk."""
    return request(field, body=b"LEN\r\n" + HIDDEN + b"\r\n0\r\n\r\n")


def complete(raw: bytes, door: Door) -> bytes:
    """Fill in the page and the hidden request's length."""
    hidden = len(door.raw(HIDDEN))
    lengths = raw.replace(b"LENGTH", b"%d" % (hidden + 5)).replace(b"LEN", b"%x" % hidden)
    return door.raw(lengths)


def mutations(byte: int) -> tuple[tuple[str, bytes], ...]:
    """Return Transfer-Encoding with a byte in each place where parsers have been lenient."""
    odd = bytes((byte,))
    return (
        ("before the name", odd + b"Transfer-Encoding: chunked"),
        ("behind the name", b"Transfer-Encoding" + odd + b": chunked"),
        ("before the value", b"Transfer-Encoding:" + odd + b"chunked"),
        ("behind the value", b"Transfer-Encoding: chunked" + odd),
        ("within the name", b"Transfer" + odd + b"Encoding: chunked"),
        ("within the value", b"Transfer-Encoding: chun" + odd + b"ked"),
        ("around the name", odd + b"Transfer-Encoding" + odd + b": chunked"),
        ("around the colon", b"Transfer-Encoding" + odd + b":" + odd + b"chunked"),
        ("around the value", b"Transfer-Encoding:" + odd + b"chunked" + odd),
    )


def assert_refused(door: Door, raw: bytes) -> None:
    """Assert that the visible request is refused, and the connection closed."""
    found = exchange(door.address, complete(raw, door))
    assert statuses(found) in ("400", "501"), raw
    assert found[-1].closes


@pytest.mark.parametrize("byte", BYTES, ids=hex)
def test_no_odd_byte_makes_or_hides_a_transfer_encoding(door: Door, byte: int) -> None:
    """With a length as well it is always refused: either reading would be somebody's."""
    for where, field in mutations(byte):
        assert_refused(door, te_cl(field))
        assert_refused(door, cl_te(field))
        if byte not in LEGAL or "value" not in where or "within" in where:
            assert_refused(door, alone(field))


OBFUSCATED = (
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: x chunked", b"Transfer-Encoding: chunked x", b"Transfer-Encoding: cow",
    b"Transfer-Encoding: chunked, cow", b"Transfer-Encoding: cow, chunked",
    b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked,chunked",
    b"Transfer-Encoding: chunked,", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding:",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: deflate, chunked", b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: cow chunked bar", b"Transfer-Encoding: chunked;x",
    b"Transfer-Encoding: (chunked)", b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding\r\n: chunked",
    b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding:\r\n\tchunked",
    b"Transfer-Encoding:\n chunked", b"Transfer-Encoding: chunked\r\n ,cow",
    b"Transfer-Encoding:\rchunked", b"A: b\r\n Transfer-Encoding: chunked",
    b"A: b\rTransfer-Encoding: chunked", b"A: b\nTransfer-Encoding: chunked",
    b"A: b\r\r\nTransfer-Encoding: chunked", b"A: b\n\rTransfer-Encoding: chunked",
    b"\r\rTransfer-Encoding: chunked", b":\r\nTransfer-Encoding: chunked",
    b"Transfer Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer\\-Encoding: chunked",
    b"\xc4\xb0: x\r\nTransfer-Encoding: chun\xe2\x84\xaaed",
)  # fmt: skip


@pytest.mark.parametrize("field", OBFUSCATED, ids=repr)
def test_no_spelling_makes_or_hides_a_transfer_encoding(door: Door, field: bytes) -> None:
    """TE.TE: one server must not see what another overlooks."""
    for build in (te_cl, cl_te, alone):
        assert_refused(door, build(field))


@pytest.mark.parametrize("build", [te_cl, cl_te])
@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"transfer-encoding", b"tRANSFER-eNCODING"])
def test_two_lengths_are_refused(door: Door, build: object, name: bytes) -> None:
    """CL.TE and TE.CL in their plainest forms: RFC 9112, section 6.3."""
    assert callable(build)
    assert_refused(door, build(name + b": chunked"))
    assert_refused(door, build(name + b": CHUNKED"))


HIDING_LENGTHS = (
    b"Content-Length: 0\r\nContent-Length: LENGTH", b"Content-Length: LENGTH\r\nContent-Length: 0",
    b"Content-Length: LENGTH\r\nContent-Length: LENGTH", b"Content-Length: 0, LENGTH",
    b"Content-Length: LENGTH, LENGTH", b"Content-Length: 0 LENGTH", b"Content-Length: LENGTH 0",
    b"Content-Length: +LENGTH", b"Content-Length: -LENGTH", b"Content-Length: 0xLENGTH",
    b"Content-Length: LENGTH.0", b"Content-Length: LENGTHe0", b"Content-Length: LENGTH_0",
    b"Content-Length : LENGTH", b"Content-Length\t: LENGTH", b" Content-Length: LENGTH",
    b"A: b\r\n Content-Length: LENGTH", b"Content-Length:\r\n LENGTH",
    b"Content-Length: 0\r\n LENGTH", b"A: b\nContent-Length: LENGTH",
    b"A: b\rContent-Length: LENGTH", b"Content-Length: \x0bLENGTH", b"Content-Length: LENGTH\x00",
    b"Content-Length: LENGTH\x0c", b"Content-Length: LENGTH;", b"Content-Length: \xa0LENGTH",
    b"Content-Length: LENGTH\x85", b'Content-Length: "LENGTH"', b"Content-Length: ",
    b"Content-Length:", b"Content-Length: LENGTH,", b"Content Length: LENGTH",
    b"Content-Length: -0", b"Content-Length: 18446744073709551616", b"Content\x00-Length: LENGTH",
)  # fmt: skip


@pytest.mark.parametrize("field", HIDING_LENGTHS, ids=repr)
def test_no_spelling_makes_or_hides_a_length(door: Door, field: bytes) -> None:
    """CL.0 and 0.CL: a body that one server sees, and the other takes for a request."""
    found = exchange(door.address, complete(request(field, body=b"x" * 5 + HIDDEN), door))
    assert statuses(found) in ("400", "413")
    assert found[-1].closes


SIZES = (
    b"LEN;\n", b"LEN;a\n", b"LEN;a=b\n", b'LEN;a="\n"\r\n', b"LEN\n", b"LEN\r", b"LEN;\r",
    b"LEN;a\r", b"0\n", b"0;\n", b"0;a\n", b"0x0\r\n", b"0_0\r\n", b"+0\r\n", b"-0\r\n", b" 0\r\n",
    b"0 \r\n", b"0\t\r\n", b"\r\n", b"\n", b";\r\n", b"g\r\n", b"0;\x00\r\n", b"0\x00\r\n",
    b"0.0\r\n", b"0,0\r\n", b"10000000000000000\r\n", b"ffffffffffffffffff\r\n", b"0\r\r\n",
    b"LEN\r\r\n", b"0\x0b\r\n",
)  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=repr)
def test_no_chunk_size_hides_a_request(door: Door, size: bytes) -> None:
    """TERM.EXT, EXT.TERM, and sizes that lenient parsers of numbers take for others."""
    for body in (
        size + HIDDEN + b"\r\n0\r\n\r\n",
        size + b"\r\n" + HIDDEN,
        b"1\r\nx\r\n" + size + HIDDEN + b"\r\n0\r\n\r\n",
    ):
        assert_refused(door, request(b"Transfer-Encoding: chunked", body=body))


SPILLS = (
    b"5\r\nhello!\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\nX\r\n", b"5\r\nhello\r\n0\r\n X: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nContent-Length: LEN\r\n\r\n", b"5\r\nhello;\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\rx",
)  # fmt: skip


@pytest.mark.parametrize("body", SPILLS, ids=repr)
def test_no_bytes_between_chunks_hide_a_request(door: Door, body: bytes) -> None:
    """ONE.TWO and SPILL: two bytes that some servers skip, whatever they are."""
    assert_refused(door, request(b"Transfer-Encoding: chunked", body=body + HIDDEN))


ONE_READING = (
    # A plain body, in whatever it is, is no request.
    (request(b"Content-Length: LENGTH", body=b"x" * 5 + HIDDEN), "405"),
    (request(b"Transfer-Encoding: chunked", body=b"LEN\r\n" + HIDDEN + b"\r\n0\r\n\r\n"), "405"),
    (
        request(
            b"Transfer-Encoding: chunked", body=b"LEN;a=b\r\n" + HIDDEN + b"\r\n0\r\nA: b\r\n\r\n"
        ),
        "405",
    ),
    # Behind a body of the given length stands the next request.
    (request(b"Content-Length: 5", body=b"x" * 5 + HIDDEN), "405 200"),
    (request(b"Content-Length: 0", body=HIDDEN), "405 200"),
    (request(body=HIDDEN), "405 200"),
    (request(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN), "405 200"),
    # Lengths and codings that are none.
    (request(b"X-Content-Length: LENGTH", body=HIDDEN), "405 200"),
    (request(b"Content_Length: LENGTH", body=HIDDEN), "405 200"),
    (request(b"Transfer_Encoding: chunked", body=HIDDEN), "405 200"),
    (
        request(b"Connection: Content-Length", b"Content-Length: LENGTH", body=b"x" * 5 + HIDDEN),
        "405",
    ),
    (request(b"Connection: close, Content-Length", b"Content-Length: 0", body=HIDDEN), "405"),
    # A bodiless method has a body all the same where it says so.
    (b"GET /absent HTTP/1.1\r\nHost: x\r\nContent-Length: LENGTH\r\n\r\nxxxxx" + HIDDEN, "404"),
    (b"HEAD /absent HTTP/1.1\r\nHost: x\r\nContent-Length: LENGTH\r\n\r\nxxxxx" + HIDDEN, "404"),
    (b"OPTIONS /absent HTTP/1.1\r\nHost: x\r\nContent-Length: LENGTH\r\n\r\nxxxxx" + HIDDEN, "404"),
)


@pytest.mark.parametrize(("raw", "expected"), ONE_READING, ids=lambda value: repr(value)[:60])
def test_a_clear_length_has_one_reading(door: Door, raw: bytes, expected: str) -> None:
    """What is hidden in a body stays there, and what stands behind it is a request."""
    method = "HEAD" if raw.startswith(b"HEAD") else "GET"
    found = exchange(door.address, complete(raw, door), methods=[method], ends=True)
    assert statuses(found) == expected


TUNNELS = (
    b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
    b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\nContent-Length: 0\r\n\r\n",
    b"GET PAGE\r\n\r\n",
    b"GET PAGE HTTP/2.0\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST PAGE HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    request(b"Connection: upgrade", b"Upgrade: x", b"Content-Length: LENGTH", body=b"x" * 5),
)


@pytest.mark.parametrize("raw", TUNNELS, ids=lambda value: repr(value)[:50])
def test_nothing_is_read_behind_what_is_no_http_any_more(door: Door, raw: bytes) -> None:
    """The client may mean anything by it."""
    found = exchange(door.address, complete(raw + HIDDEN, door))
    assert len(found) == 1
    assert found[0].status >= 400
    assert found[0].closes
