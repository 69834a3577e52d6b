"""Connections: requests one after the other, in whatever packets, and how they end.

RFC 9112, sections 9.3 to 9.6; RFC 9110, section 9.3.2.
"""

import json
import socket
import time

import pytest

from support.http_doors import Daemon, Door
from support.http_wire import connect, exchange, first_response, read_all, responses, statuses

GET = b"GET PAGE HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET PAGE HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
ABSENT = b"GET /absent HTTP/1.1\r\nHost: x\r\n\r\n"
BAD = b"GET PAGE HTTP/1.1\r\nHost : x\r\n\r\n"
BODY = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST PAGE HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = (
    b"POST PAGE HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"
)


def persistent(version: bytes, *fields: bytes) -> bytes:
    """Return a request with these fields, and one behind it."""
    lines = (b"GET PAGE HTTP/" + version, b"Host: x", *fields, b"", b"")
    return b"\r\n".join(lines) + ABSENT


# What is sent, the statuses received, and whether the server closes then.
PERSISTENCE = {
    persistent(b"1.1"): ("200 404", False),
    persistent(b"1.1", b"Connection: keep-alive"): ("200 404", False),
    persistent(b"1.1", b"Connection:"): ("200 404", False),
    persistent(b"1.1", b"Connection: x, y"): ("200 404", False),
    persistent(b"1.1", b"Connection: Host"): ("200 404", False),
    persistent(b"1.1", b"Connection: close"): ("200", True),
    persistent(b"1.1", b"connection: CLOSE"): ("200", True),
    persistent(b"1.1", b"Connection: x, close"): ("200", True),
    persistent(b"1.1", b"Connection: close, keep-alive"): ("200", True),
    persistent(b"1.1", b"Connection: keep-alive", b"Connection: close"): ("200", True),
    persistent(b"1.1", b"Connection: close", b"Connection: keep-alive"): ("200", True),
    persistent(b"1.0"): ("200", True),
    persistent(b"1.0", b"Connection: keep-alive"): ("200 404", False),
    persistent(b"1.0", b"Connection: Keep-Alive", b"Keep-Alive: timeout=5"): ("200 404", False),
    persistent(b"1.0", b"Connection: close"): ("200", True),
}


@pytest.mark.parametrize(("raw", "expected"), PERSISTENCE.items(), ids=repr)
def test_a_connection_lasts_as_long_as_the_client_wants(
    door: Door, raw: bytes, expected: tuple[str, bool]
) -> None:
    """RFC 9112, section 9.3; an answer in HTTP/1.0 says that it keeps the connection."""
    answers, closes = expected
    found = exchange(door.address, door.raw(raw), ends=not closes)
    assert statuses(found) == answers
    assert found[-1].closes == closes
    if b"HTTP/1.0\r\nHost: x\r\nConnection: " in raw and not closes:
        assert found[0].fields["connection"].lower() == "keep-alive"


UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket": b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n",
    "unannounced": b"Upgrade: websocket\r\n",
}


@pytest.mark.parametrize("kind", UPGRADES)
@pytest.mark.parametrize("body", [b"", b"Content-Length: 5\r\n\r\nhello"])
def test_an_upgrade_is_ignored(door: Door, kind: str, body: bytes) -> None:
    """RFC 9110, section 7.8: `curl --http2` asks for one and takes the plain answer as well.

    What follows is not read, or read as HTTP/1.1.
    """
    raw = b"GET PAGE HTTP/1.1\r\nHost: x\r\n" + UPGRADES[kind] + (body or b"\r\n")
    found = exchange(door.address, door.raw(raw + ABSENT), ends=True)
    assert (statuses(found), found[-1].closes) in (("200", True), ("200 404", False))


HEADS = ["PAGE", "/absent", "PAGE/absent", "PAGE?x=1", "/"]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("path", HEADS)
def test_head_is_get_without_the_body(door: Door, path: str, version: str) -> None:
    """RFC 9110, section 9.3.2: the same fields, the length of the body included."""

    def ask(method: str) -> tuple[dict[str, str], bytes]:
        raw = door.raw(f"{method} {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        (response,) = exchange(door.address, raw, methods=[method], ends=True)
        return {**response.fields, "status": str(response.status), "date": ""}, response.body

    (fields, body), (head_fields, head_body) = ask("GET"), ask("HEAD")
    assert (head_fields, head_body) == (fields, b"")
    assert int(fields["content-length"]) == len(body) > 0


@pytest.mark.parametrize("path", ["/v1/apps", "/v1/apps/payments/token", "/v1/apps/absent/token"])
def test_head_of_the_api_is_get_without_the_body(daemon: Daemon, path: str) -> None:
    """Also of a token, which it does not show."""
    test_head_is_get_without_the_body(daemon.api, path, "1.1")


BAD_HEADS = {
    b"HEAD PAGE HTTP/1.1\r\nHost : x\r\n\r\n": "400",
    b"HEAD PAGE HTTP/1.1\r\n\r\n": "400",
    b"HEAD PAGE HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n": "413",
    b"HEAD PAGE HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n": "431",
    b"HEAD PAGE HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n": "417",
}


@pytest.mark.parametrize(("raw", "expected"), BAD_HEADS.items(), ids=lambda value: repr(value)[:60])
def test_a_refused_head_has_no_body_either(door: Door, raw: bytes, expected: str) -> None:
    """A client would take it for the next answer."""
    found = exchange(door.address, door.raw(raw), methods=["HEAD"])
    assert statuses(found) == expected


def test_head_of_a_watch_ends_at_once(daemon: Daemon) -> None:
    """There is nothing to wait for."""
    raw = b"HEAD /v1/apps/payments/token?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    (response,) = exchange(daemon.socket, raw, methods=["HEAD"])
    assert (response.status, response.closes) == (200, True)


def test_head_of_a_refresh_is_refused_as_get_is(daemon: Daemon) -> None:
    """Neither may cause a refresh."""
    raw = b"HEAD /v1/apps/payments/refresh HTTP/1.1\r\nHost: x\r\n\r\n"
    (response,) = exchange(daemon.socket, raw, methods=["HEAD"], ends=True)
    assert (response.status, response.fields["allow"]) == (405, "POST")


PIPELINES = {
    GET * 3 + LAST: "200 200 200 200",
    GET + ABSENT + POST + GET + CHUNKED + LAST: "200 404 405 200 405 200",
    GET + BAD + GET: "200 400",
    BAD + GET: "400",
    GET + LAST + GET: "200 200",
    GET + b"\r\n" + GET + b"\r\n\r\n" + LAST: "200 200 200",
    GET * 500 + LAST: " ".join(["200"] * 501),
    POST * 100 + BAD + GET * 100: " ".join([*["405"] * 100, "400"]),
    CHUNKED * 200 + LAST: " ".join([*["405"] * 200, "200"]),
    GET + b"GET PAGE HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + GET: "200 413",
}


@pytest.mark.parametrize(("raw", "expected"), PIPELINES.items(), ids=lambda value: repr(value)[:50])
def test_pipelined_requests_are_answered_in_their_order(
    door: Door, raw: bytes, expected: str
) -> None:
    """RFC 9112, section 9.3.2; behind a refused request nothing is read."""
    found = exchange(door.address, door.raw(raw))
    assert statuses(found) == expected
    assert [response.closes for response in found] == [False] * (len(found) - 1) + [True]


def test_a_waiting_request_holds_up_those_behind_it(daemon: Daemon) -> None:
    """The one in the middle waits for a token that lives longer than any does."""
    token = b"GET /v1/apps/payments/token%b HTTP/1.1\r\nHost: x\r\n\r\n"
    waiting = token % b"?min_ttl=100000&wait=1"
    raw = daemon.api.raw(GET + waiting + token % b"?format=raw" + ABSENT + LAST)
    found = exchange(daemon.socket, raw)
    assert statuses(found) == "200 503 200 404 200"
    assert found[1].fields["retry-after"].isdigit()
    assert found[2].fields["content-type"].startswith("text/plain")


def test_a_waiting_request_delays_nobody_else(daemon: Daemon) -> None:
    """Each connection waits for its own answers only."""
    with connect(daemon.socket) as waiting:
        waiting.sendall(
            b"GET /v1/apps/payments/token?min_ttl=100000&wait=5 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        began = time.monotonic()
        assert statuses(exchange(daemon.socket, daemon.api.raw(LAST))) == "200"
        assert time.monotonic() - began < 4


def pieces_of(raw: bytes, size: int) -> list[bytes]:
    """Return some bytes in pieces of this size."""
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def test_requests_may_be_split_anywhere(door: Door) -> None:
    """A packet's end means nothing: at each byte, and all of them in packets of one byte."""
    raw = door.raw(POST + CHUNKED + b"\r\n" + LAST)
    for split in range(1, len(raw)):
        assert statuses(exchange(door.address, raw[:split], raw[split:])) == "405 405 200"
    for size in (1, 2, 3, 7):
        assert statuses(exchange(door.address, *pieces_of(raw, size))) == "405 405 200"


def test_refusals_do_not_depend_on_packets(door: Door) -> None:
    """Otherwise who splits a request elsewhere gets another reading."""
    raw = (
        door.raw(
            GET + b"POST PAGE HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\n"
        )
        + GET
    )
    for split in range(1, len(raw)):
        assert statuses(exchange(door.address, raw[:split], raw[split:])) == "200 400"
    assert statuses(exchange(door.address, *pieces_of(raw, 1))) == "200 400"


def test_a_client_that_ends_what_it_sends_is_answered(daemon: Daemon, door: Door) -> None:
    """`nc -N` and `socat` do so (shutdown(2)); also where the answer has to wait."""
    assert statuses(exchange(door.address, door.raw(GET), ends=True)) == "200"
    assert (
        statuses(exchange(door.address, door.raw(GET * 3 + POST), ends=True)) == "200 200 200 405"
    )
    waiting = b"GET /v1/apps/payments/token?min_ttl=100000&wait=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    raw = daemon.api.raw(GET + waiting + GET)
    assert statuses(exchange(daemon.socket, raw, ends=True)) == "200 503 200"


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n", GET[:-1], GET[:5], POST[:-1], CHUNKED[:-1], b"\r\n" * 1000]
)
def test_an_unfinished_request_is_not_answered_with_success(door: Door, raw: bytes) -> None:
    """RFC 9112, section 8: the client has ended what it sends, and a part is no request."""
    found = exchange(door.address, door.raw(raw), ends=True)
    assert statuses(found) in ("", "400", "408")


def test_clients_that_are_gone_at_once_leave_no_trace(door: Door) -> None:
    """Before and after they have sent something, also with a reset; others are served."""
    for raw in (b"", b"GET", GET, GET * 100, POST[:-3]):
        for _ in range(20):
            with connect(door.address) as client:
                client.sendall(door.raw(raw))
                if isinstance(door.address, tuple):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert statuses(exchange(door.address, door.raw(LAST))) == "200"


def test_a_connection_serves_a_hundred_requests(door: Door) -> None:
    """Each sent after the answer to the one before."""
    with connect(door.address) as client:
        for number in range(100):
            client.sendall(door.raw(GET if number % 3 else POST))
            response, rest = first_response(client.recv(65536))
            assert (response.status, response.closes, rest) == (
                200 if number % 3 else 405,
                False,
                b"",
            )


def test_a_watch_is_streamed_in_either_version(daemon: Daemon) -> None:
    """HTTP/1.0 knows no chunks, so there the connection's end is the stream's."""
    for version in (b"1.1", b"1.0"):
        with connect(daemon.socket) as client:
            client.sendall(
                b"GET /v1/apps/payments/token?watch=1 HTTP/" + version + b"\r\nHost: x\r\n\r\n"
            )
            received = b""
            while b"}\n" not in received:
                received += client.recv(65536)
            head, _, rest = received.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert (b"\r\nTransfer-Encoding: chunked" in head) == (version == b"1.1")
            line = rest.split(b"\r\n")[1] if version == b"1.1" else rest
            assert json.loads(line)["app"] == "payments"


def test_no_answer_names_a_library(door: Door) -> None:
    """No version either: that only helps an attacker."""
    for raw in (LAST, BAD, ABSENT.replace(b"Host", b"Connection: close\r\nHost")):
        for response in exchange(door.address, door.raw(raw)):
            assert response.fields.get("server") in (None, "refresherd")
            assert response.fields["cache-control"] == "no-store"


def test_what_follows_the_last_request_is_thrown_away(door: Door) -> None:
    """A client may send on without reading, and still reads its answer, not a reset."""
    with connect(door.address) as client:
        client.sendall(door.raw(LAST) + b"x" * 30_000)
        time.sleep(0.05)
        assert statuses(responses(read_all(client))) == "200"
