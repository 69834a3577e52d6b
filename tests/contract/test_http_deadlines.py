"""Clients that dawdle: each gets its answer or learns why not, within the deadline."""

import asyncio
import time

import pytest

from refresherd.host.http.server import Times
from support.api_place import served
from support.fake_app import Script
from support.fakes import grants
from support.http_wire import connect, exchange, read_all, responses, statuses

SECONDS = 0.5
"""For a complete request."""

GET = b"GET /v1/apps/payments HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/apps/payments HTTP/1.1\r\nHost: x\r\n"

UNFINISHED = {
    b"G": "408",
    b"GET / HTTP/1.1\r\n": "408",
    GET[:-1]: "408",
    GET + GET[:-1]: "200 408",
    POST + b"Content-Length: 5\r\n\r\nhell": "408",
    POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n": "408",
    POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\nx": "408",
    POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n": "100 408",
    # No request has begun, so there is none to answer.
    b"": "",
    b"\r\n": "",
    GET: "200",
    GET + b"\r\n\r\n": "200",
}


@pytest.mark.parametrize(("raw", "expected"), UNFINISHED.items(), ids=repr)
async def test_an_unfinished_request_is_given_up(raw: bytes, expected: str) -> None:
    """RFC 9110, section 15.5.9: 408, and the end of the connection."""
    async with served(times=Times(request=SECONDS)) as place:
        found = await asyncio.to_thread(exchange, place.path, raw)
        assert statuses(found) == expected
        if expected.endswith("408"):
            assert found[-1].closes
            assert found[-1].fields["content-type"] == "application/problem+json"


DRIBBLES = (
    b"GET /" + b"x" * 1000,
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100,
    b"\r\n" * 1000,
    POST + b"Content-Length: 5000\r\n\r\n" + b"x" * 1000,
    POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100,
    POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 100,
)


@pytest.mark.timing
@pytest.mark.parametrize("raw", DRIBBLES, ids=lambda raw: repr(raw)[:60])
async def test_a_byte_now_and_then_does_not_help(raw: bytes) -> None:
    """The deadline is that of the whole request, however its bytes arrive."""

    def dribble() -> bytes:
        with connect(place.path) as client:
            try:
                for byte in raw:
                    client.sendall(bytes((byte,)))
                    time.sleep(0.01)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_all(client)

    async with served(times=Times(request=SECONDS)) as place:
        began = time.monotonic()
        assert statuses(responses(await asyncio.to_thread(dribble))) in ("", "408")
        assert time.monotonic() - began < 5


async def test_a_request_that_waits_for_the_daemon_has_no_deadline() -> None:
    """The client has done its part."""
    script: Script = [next(grants()), asyncio.Event()]
    async with served(times=Times(request=SECONDS), payments=script) as place:
        place.clock.advance(200)
        path = b"/v1/apps/payments/token?min_ttl=500&wait=2"
        began = time.monotonic()
        raw = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        assert statuses(await asyncio.to_thread(exchange, place.path, raw)) == "503"
        assert time.monotonic() - began > 2
