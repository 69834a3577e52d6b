"""Clients that hang, dawdle, hoard or send nonsense: none of them keeps others from a token."""

import asyncio
import gc
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector
from hypothesis import given, settings
from hypothesis import strategies as st

from refresherd.domain.connection_quota import DEFAULT_QUOTA, Quota, Refusal
from refresherd.domain.events import ConnectionRejected
from refresherd.domain.model import Access
from refresherd.host.http.connection import HttpConnection
from refresherd.host.http.server import Times
from refresherd.host.listener import REFUSED_CONNECTIONS
from refresherd.host.stream import READ_BYTES
from support.api_place import Place, eventually, served
from support.fake_app import Script
from support.fakes import grants
from support.other_users import AS_ROOT, Identity, answer, other_process

TOKEN = "/v1/apps/payments/token"
REQUEST = f"GET {TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
MOST_PER_CLIENT = 4 * READ_BYTES
"""Bytes: what is read and not yet answered, and what a connection takes in any case."""

USERS = Access(users=("1234", "1235"))

PIECES = st.sampled_from(
    (
        REQUEST,
        b"GET /v1/apps HTTP/1.1\r\n",
        b"POST /v1/apps/payments/refresh?wait=0 HTTP/1.1\r\n",
        b"HEAD / HTTP/1.0\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://x/v1/apps HTTP/1.1\r\n",
        b"Host: x\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"x" * 5000,
        b"\x00\xff",
    )
)


@contextmanager
def connected(place: Place) -> Iterator[socket.socket]:
    """Yield a connection, non-blocking."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place.path))
        client.settimeout(0)
        yield client


async def read(client: socket.socket) -> bytes:
    """Return all that a client receives until the connection is closed."""
    pieces = []
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            while piece := await asyncio.get_running_loop().sock_recv(client, 65536):
                pieces.append(piece)
    return b"".join(pieces)


async def exchange(place: Place, *pieces: bytes) -> bytes:
    """Send these pieces, and return all that is received."""
    with connected(place) as client:
        for piece in pieces:
            with suppress(BrokenPipeError):
                await asyncio.get_running_loop().sock_sendall(client, piece)
                await asyncio.sleep(0)
        return await read(client)


async def assert_served(place: Place) -> None:
    """Another client gets its token at once."""
    async with asyncio.timeout(5):
        connector = UnixConnector(str(place.path))
        async with (
            ClientSession("http://x", connector=connector) as client,
            client.get(TOKEN) as response,
        ):
            assert response.status == 200


@given(st.lists(st.one_of(PIECES, st.binary(max_size=64)), max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_bytes_break_anything(pieces: list[bytes]) -> None:
    """Whatever a client sends, it gets HTTP and no unrequested token, and others are served."""

    async def send() -> bytes:
        async with served() as place:
            sending = asyncio.create_task(exchange(place, *pieces))
            await assert_served(place)
            await place.stop()
            return await sending

    text = asyncio.run(send())
    assert text == b"" or text.startswith(b"HTTP/1.")
    assert b"token-1" not in text or any(TOKEN.encode() in piece for piece in pieces)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"414", b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n"),
        (b"431", b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n"),
        (
            b"431",
            b"GET / HTTP/1.1\r\n",
            *(b"X-%d: x\r\n" % number for number in range(200)),
            b"\r\n",
        ),
    ],
)
async def test_an_oversized_request_is_refused(pieces: tuple[bytes, ...]) -> None:
    """No valid request here needs more than a line or two."""
    code, *sent = pieces
    async with served() as place:
        text = await exchange(place, *sent)
        assert text.startswith(b"HTTP/1.1 " + code)
        assert b"application/problem+json" in text


@pytest.mark.timing
@pytest.mark.parametrize("first", [b"", REQUEST])
@pytest.mark.parametrize("endless", [b"GET /" + b"x" * 80, b"GET / HTTP/1.1\r\nX: " + b"x" * 80])
async def test_a_connection_without_a_complete_request_is_closed(
    first: bytes, endless: bytes
) -> None:
    """A byte now and then does not help, for the first request or a later one."""

    async def dribble(client: socket.socket) -> None:
        client.send(first)
        for byte in endless:
            await asyncio.get_running_loop().sock_sendall(client, bytes((byte,)))
            await asyncio.sleep(0.02)

    async with served(times=Times(request=0.3)) as place:
        with connected(place) as client:
            dribbling = asyncio.create_task(dribble(client))
            began = time.monotonic()
            await read(client)
            assert 0.2 < time.monotonic() - began < 3
            await asyncio.wait({dribbling})
            assert isinstance(dribbling.exception(), ConnectionError)


async def test_a_body_that_does_not_arrive_is_not_waited_for_long() -> None:
    """The client learns that the daemon has waited, and what for."""
    async with served(times=Times(request=0.3)) as place:
        text = await exchange(
            place,
            b"POST /v1/apps/payments/refresh?wait=0 HTTP/1.1\r\nHost: x\r\n",
            b"Content-Length: 9\r\n\r\nabc",
        )
        assert text.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert place.attempts() == 1


async def test_refused_requests_leave_nothing_behind() -> None:
    """Anybody who may connect can send as many as they like: memory must not grow with them."""
    async with served() as place:
        for _ in range(50):
            text = await exchange(
                place, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nabc"
            )
            assert text.startswith(b"HTTP/1.1 413 ")
        # What the listener holds on to cannot be seen otherwise, short of millions of requests.
        await eventually(lambda: not place.listener._server.connections)


@pytest.mark.parametrize(
    "target", ["/v1/apps?x=1", f"{TOKEN}?x=1", "/v1/apps/payments/refresh?x=1"]
)
async def test_requests_with_a_wrong_parameter_leave_nothing_behind(target: str) -> None:
    """Anybody may send the same wrong request without end: memory must not grow with each."""
    times, method = 1000, "POST" if "refresh" in target else "GET"
    wrong = f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = f"{method} {target} HTTP/1.0\r\n\r\n".encode()
    async with served() as place:
        assert (await exchange(place, last)).startswith(b"HTTP/1.1 400 ")
        gc.collect()
        tracemalloc.start()
        try:
            text = await exchange(place, wrong * times + last)
            assert text.count(b"HTTP/1.1 400 ") == times + 1
            del text
            gc.collect()
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken < times * 500  # the events that the test records take some of it


async def test_clients_that_leave_early_leave_nothing_behind() -> None:
    """Until Python collects garbage, thousands could come and go, and take twice the memory."""
    async with served() as place:
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                with connected(place) as client:
                    client.send(f"GET {TOKEN}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    assert await asyncio.get_running_loop().sock_recv(client, 8192)
            await eventually(lambda: not place.listener._server.connections)
            await asyncio.sleep(0)
            left = sum(isinstance(one, HttpConnection) for one in gc.get_objects())
        finally:
            gc.enable()
        assert left < 5


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """Its answers would occupy memory for ever; and no new requests are read meanwhile."""
    async with served(times=Times(answer=0.3)) as place:
        with connected(place) as client, pytest.raises(OSError, match=r"reset|Broken pipe"):
            await send_on(client)
        assert len(place.answered) < 5000
        await assert_served(place)


async def send_on(client: socket.socket) -> None:
    """Send requests as long as they are read, and read nothing."""
    async with asyncio.timeout(20):
        while True:
            await asyncio.get_running_loop().sock_sendall(client, REQUEST * 100)


async def test_requests_behind_one_that_waits_take_little_memory() -> None:
    """A client may send hundreds at once, and as objects they take twenty times their bytes."""
    behind = (b"GET / HTTP/1.1\r\nHost:\r\n" + b"a:\r\n" * 60 + b"\r\n") * 60
    waiting = f"GET {TOKEN}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    clients = 20
    async with served() as place:
        with ExitStack() as stack:
            gc.collect()
            tracemalloc.start()
            stack.callback(tracemalloc.stop)
            for _ in range(clients):
                client = stack.enter_context(connected(place))
                await asyncio.get_running_loop().sock_sendall(client, waiting + behind)
                assert await asyncio.get_running_loop().sock_recv(client, 1000)
            taken, _ = tracemalloc.get_traced_memory()
            assert taken < clients * MOST_PER_CLIENT
        await assert_served(place)


async def test_requests_sent_at_once_are_answered_in_turns() -> None:
    """A client that sends hundreds in one piece must not make others wait for all of them."""
    many = b"GET /x HTTP/1.1\r\nHost:\r\n\r\n" * 300
    loop = asyncio.get_running_loop()
    async with served() as place:
        with connected(place) as flood, connected(place) as other:
            assert flood.send(many) == len(many)
            other.send(REQUEST)
            assert await loop.sock_recv(other, 8192)
            assert len(place.answered) < 20
            text = b""
            while text.count(b"HTTP/1.1 404 ") < 300:
                text += await loop.sock_recv(flood, 65536)
            flood.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(flood, 1) == b""


async def test_a_slow_reader_that_goes_on_is_served() -> None:
    """Only clients that stop reading are cut off."""
    async with served(times=Times(answer=1.0)) as place:
        with connected(place) as client:
            client.sendall(REQUEST * 1000)
            loop, text = asyncio.get_running_loop(), b""
            while text.count(b'"access_token"') < 1000:
                text += await loop.sock_recv(client, 8192)
                await asyncio.sleep(0.005)


async def test_a_thousand_requests_for_a_fresh_token_cost_one_refresh() -> None:
    """All workers of a service may start at once."""
    go_on = asyncio.Event()
    first, second = (next(grants()) for _ in range(2))
    script: Script = [first, go_on, second]
    async with served(payments=script) as place:
        place.clock.advance(200)
        connector = UnixConnector(str(place.path), limit=0)
        async with ClientSession("http://x", connector=connector) as client:

            async def ask() -> int:
                async with client.get(f"{TOKEN}?min_ttl=500&wait=60") as response:
                    return int((await response.json())["generation"])

            asks = [asyncio.create_task(ask()) for _ in range(1000)]
            await eventually(lambda: place.attempts() == 2)
            await asyncio.sleep(0.5)
            go_on.set()
            async with asyncio.timeout(30):
                assert set(await asyncio.gather(*asks)) == {2}
        assert place.attempts() == 2


STUCK = """
stuck = [dial() for _ in range({number})]
"""


@pytest.mark.timing
@AS_ROOT
async def test_hundreds_of_idle_connections_of_one_user_delay_nobody_else() -> None:
    """They cost the daemon no more than that user's share of connections."""
    async with served({"payments": USERS}) as place:
        with other_process(place.path, STUCK.format(number=500), Identity("1234")):
            share = DEFAULT_QUOTA.user_connections
            await eventually(lambda: refused(place) == 500 - share)
            began = time.monotonic()
            others = [asyncio.to_thread(ask_as, place.path, uid) for uid in ("1235", "0", "1235")]
            assert set(await asyncio.gather(*others)) == {"200"}
            assert time.monotonic() - began < 5
            assert await asyncio.to_thread(ask_as, place.path, "1234") == "503"
            first = place.observer.of(ConnectionRejected)[0]
            assert (first.user, first.reason) == ("1234", Refusal.USER_CONNECTIONS)
        for _ in range(100):
            if await asyncio.to_thread(ask_as, place.path, "1234") == "200":
                break
        else:
            raise AssertionError("its connections are still counted")


@AS_ROOT
async def test_each_connection_over_the_rate_is_refused_and_counted() -> None:
    """One who connects in a loop costs others nothing, and the metric shows how bad it is."""
    rate = Quota(arrivals_per_second=0.001, arrivals_at_once=100)
    async with served({"payments": USERS}, quota=rate) as place:
        with other_process(place.path, STUCK.format(number=500), Identity("1234")):
            await eventually(lambda: refused(place) == 500 - 100)
            assert await asyncio.to_thread(ask_as, place.path, "1235") == "200"
        reasons = {event.reason for event in place.observer.of(ConnectionRejected)}
        assert reasons == {Refusal.USER_ARRIVALS}


@AS_ROOT
async def test_a_user_who_slows_down_is_served_again() -> None:
    """A service that came back in a restart loop must not be shut out for longer than that."""
    rate = Quota(arrivals_per_second=5.0, arrivals_at_once=2)
    async with served({"payments": USERS}, quota=rate) as place:
        with other_process(place.path, STUCK.format(number=50), Identity("1234")):
            await eventually(lambda: refused(place) > 1)
        for _ in range(100):
            if await asyncio.to_thread(ask_as, place.path, "1234") == "200":
                break
        else:
            raise AssertionError("it is still refused")


def refused(place: Place) -> int:
    """Return how many connections were refused, as far as that is reported."""
    return sum(event.count for event in place.observer.of(ConnectionRejected))


def ask_as(path: Path, uid: str) -> str:
    """Return the code of the answer to a user's request."""
    return answer(path, f"GET {TOKEN} HTTP/1.0\r\n\r\n", Identity(uid)).split()[1]


WAITING = f"GET {TOKEN}?wait=300 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
"""Keeps its place, since its client waits for the daemon."""


@asynccontextmanager
async def full() -> AsyncIterator[Place]:
    """Serve one connection at a time, whose client waits for a token."""
    script: Script = [asyncio.Event()]
    async with served(quota=Quota(rank_connections=1), payments=script) as place:
        with connected(place) as client:
            client.send(WAITING)
            await asyncio.sleep(0.1)
            yield place


async def test_a_refused_client_learns_why() -> None:
    """The answer is HTTP though its request was not read; later it is served again."""
    async with full() as place:
        text = await exchange(place, REQUEST)
        assert text.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Content-Type: application/problem+json\r\n" in text
        assert b"\r\nRetry-After: 1\r\n" in text
        assert b"no place for another connection" in text
        assert b"token-1" not in text


async def test_an_idle_connection_makes_room_for_a_new_one() -> None:
    """Otherwise a few users with idle connections would shut out everybody else."""
    async with served(quota=Quota(rank_connections=2)) as place:
        with connected(place) as first, connected(place) as second:
            await exchange(place, f"GET {TOKEN} HTTP/1.0\r\n\r\n".encode())
            assert await read(first) == b""
            second.send(f"GET {TOKEN} HTTP/1.0\r\n\r\n".encode())
            assert b"token-1" in await read(second)
        assert not place.observer.of(ConnectionRejected)


async def test_a_burst_of_refusals_is_reported_once() -> None:
    """A flood of refusals must not become a flood of log lines."""
    async with full() as place:
        for _ in range(2 * REFUSED_CONNECTIONS):
            with connected(place):
                await asyncio.sleep(0)
        rejected = place.observer.of(ConnectionRejected)
        assert [(one.reason, one.count) for one in rejected] == [(Refusal.ALL_CONNECTIONS, 1)]
        await eventually(lambda: len(place.observer.of(ConnectionRejected)) == 2)
        assert place.observer.of(ConnectionRejected)[1].count == 2 * REFUSED_CONNECTIONS - 1


async def test_only_a_few_refused_connections_stay_open() -> None:
    """A client that connects again and again must not use up descriptors that way."""
    async with full() as place:
        with ExitStack() as clients:
            flood = range(REFUSED_CONNECTIONS + 2)
            refused = [clients.enter_context(connected(place)) for _ in flood]
            texts = [await read(client) for client in refused]
            assert [text.startswith(b"HTTP/1.1 503 ") for text in texts] == [
                number < REFUSED_CONNECTIONS for number in flood
            ]


@pytest.mark.timing
async def test_a_stop_waits_for_no_client() -> None:
    """The daemon promises to stop within 5 s, and needs them for more than this."""
    script: Script = [asyncio.Event()]
    async with served(payments=script) as place:
        with ExitStack() as clients:
            kinds = (
                b"",
                b"GET / HT",
                REQUEST * 30_000,
                b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
            )
            for request in kinds:
                clients.enter_context(connected(place)).send(request)
            waiting = asyncio.create_task(place.get(f"{TOKEN}?wait=300"))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            await place.stop()
            assert time.monotonic() - began < 1.5
            code, problem = await waiting
            assert (code, problem["detail"]) == (503, "the app is being stopped")
