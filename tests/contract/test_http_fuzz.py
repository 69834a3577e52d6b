"""Requests that nobody has thought of: each answer is HTTP, and packets and company change none."""

from itertools import pairwise

import h11
from hypothesis import given
from hypothesis import strategies as st

from support.http_doors import Daemon, Door
from support.http_wire import Response, exchange, statuses

LAST = b"GET PAGE HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HIDDEN = b"GET /absent HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

PIECES = st.sampled_from(
    (
        b"GET PAGE HTTP/1.1\r\n",
        b"POST PAGE HTTP/1.1\r\n",
        b"HEAD /absent HTTP/1.0\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://x/absent HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET ",
        b"/",
        b" HTTP/1.1",
        b"Host: x\r\n",
        b"A",
        b": ",
        b"\t",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"5\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"0\r\n",
        b"FFFFFFFF\r\n",
        b"hello",
        b"x" * 3000,
        b"X: y\r\n" * 70,
        b"\x00\xff",
    )
)


def assert_served(door: Door) -> None:
    """Another client is answered."""
    assert statuses(exchange(door.address, door.raw(LAST))) == "200"


@given(pieces=st.lists(st.one_of(PIECES, st.binary(max_size=32)), max_size=12))
def test_every_answer_is_http(door: Door, pieces: list[bytes]) -> None:
    """Whatever a client sends; and where one request is refused, that is the end."""
    found = exchange(door.address, *map(door.raw, pieces), ends=True, methods=methods(pieces))
    assert all(response.status < 500 or response.status in (501, 505) for response in found)
    assert not any(response.closes for response in found[:-1])
    assert_served(door)


def methods(pieces: list[bytes]) -> list[str]:
    """Return the methods of the requests, as far as pieces tell: HEAD is the one that matters."""
    return ["HEAD"] if b"".join(pieces).lstrip(b"\r\n").startswith(b"HEAD") else []


SPACES = st.sampled_from([b"", b" ", b"  ", b"\t", b" \t "])
NAMES = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12).map(
    lambda name: b"X-" + name.encode()
)
VALUES = st.lists(st.integers(0x21, 0xFF).filter(lambda byte: byte != 0x7F), max_size=20).map(bytes)
FIELDS = st.builds(lambda *parts: parts[0] + b":" + b"".join(parts[1:]), NAMES, SPACES, VALUES)
SIZES = st.sampled_from([b"%x", b"%X", b"00%x"])
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b c"', b";a;b=c"])
PATHS = st.sampled_from([b"PAGE", b"/absent", b"http://xPAGE", b"PAGE?x=1", b"/%41bsent?a=b&c"])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return the end of a head, and a body of the length that it gives."""
    data = draw(st.one_of(st.binary(max_size=40), st.just(HIDDEN)))
    form = draw(st.sampled_from(["none", "length", "chunked"]))
    if form == "none":
        return b"\r\n"
    if form == "length":
        return b"Content-Length: %d\r\n\r\n" % len(data) + data
    chunks = [chunk for chunk in (data[:7], data[7:]) if chunk]
    coded = b"".join(
        draw(SIZES) % len(chunk) + draw(EXTENSIONS) + b"\r\n" + chunk + b"\r\n" for chunk in chunks
    )
    trailer = draw(st.sampled_from([b"", b"X: y\r\n"]))
    return b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n" + trailer + b"\r\n"


@st.composite
def valid_requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a method, and a request that is valid by RFC 9112 and keeps its connection."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS"]))
    fields = draw(st.lists(FIELDS, max_size=4))
    fields.insert(draw(st.integers(0, len(fields))), b"Host: x")
    head = method.encode() + b" " + draw(PATHS) + b" HTTP/1.1\r\n"
    return method, head + b"".join(field + b"\r\n" for field in fields) + draw(bodies())


def essence(found: list[Response]) -> list[tuple[int, dict[str, str], bytes]]:
    """Return what does not depend on the time."""
    return [(response.status, {**response.fields, "date": ""}, response.body) for response in found]


@given(
    asked=st.lists(valid_requests(), min_size=1, max_size=6),
    splits=st.lists(st.integers(0, 1500), max_size=5),
)
def test_neither_packets_nor_company_change_an_answer(
    door: Door, asked: list[tuple[str, bytes]], splits: list[int]
) -> None:
    """Requests on one connection get what each gets alone, however their bytes arrive."""
    alone = [
        answer
        for method, raw in asked
        for answer in exchange(door.address, door.raw(raw), methods=[method], ends=True)
    ]
    together = door.raw(b"".join(raw for _, raw in asked))
    cuts = [0, *sorted({min(cut, len(together)) for cut in splits}), len(together)]
    pieces = [together[start:end] for start, end in pairwise(cuts)]
    kinds = [method for method, _ in asked]
    found = exchange(door.address, *pieces, methods=kinds, ends=True)
    assert len(alone) == len(asked)
    assert essence(found) == essence(alone)


MUTATED = (
    b"POST PAGE HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nA: b\r\n\r\nhello",
    (
        b"POST PAGE HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"
    ),
)


@given(
    raw=st.sampled_from(MUTATED),
    place=st.integers(0, 90),
    cut=st.integers(0, 3),
    put=st.one_of(st.binary(max_size=3), st.sampled_from([b"\r\n", b"\n", b" ", b"\t", b"0"])),
)
def test_a_mutated_request_is_read_as_another_server_reads_it(
    daemon: Daemon, raw: bytes, place: int, cut: int, put: bytes
) -> None:
    """It is refused, or h11 finds the same requests in the same bytes: nothing can hide."""
    mutated = daemon.api.raw(raw[:place] + put + raw[place + cut :] + LAST)
    found = exchange(daemon.socket, mutated, ends=True)
    answered = [response for response in found if response.status not in REFUSALS]
    read = read_by_h11(mutated)
    if read is not None:
        assert len(answered) == read or (len(answered) < read and found[-1].closes)


REFUSALS = (400, 408, 413, 414, 417, 431, 501, 505)


def read_by_h11(raw: bytes) -> int | None:
    """Return the number of complete requests in some bytes, None if h11 refuses some."""
    connection, count = h11.Connection(h11.SERVER), 0
    connection.receive_data(raw)
    try:
        while True:
            event = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return count
            if isinstance(event, h11.EndOfMessage):
                count += 1
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    return count
                connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return None
