"""Clients that are stuck, slow, greedy or mad: none of them keeps anybody else from a token."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector
from hypothesis import given, settings
from hypothesis import strategies as st

from refresherd.adapters.api import connection, listener, reception
from refresherd.adapters.api.quota import Shares
from refresherd.domain.events import ConnectionRejected
from refresherd.domain.model import Access
from support.api_place import Place, eventually, served
from support.fake_app import Script
from support.fakes import grants
from support.other_users import AS_ROOT, As, answer, stranger

TOKEN = "/v1/apps/payments/token"
REQUEST = f"GET {TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
SHARES = Shares()
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
def dialled(place: Place) -> Iterator[socket.socket]:
    """Yield a connection, non-blocking."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place.path))
        client.settimeout(0)
        yield client


async def read(client: socket.socket) -> bytes:
    """Return what a client is told until the connection is closed."""
    pieces = []
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            while piece := await asyncio.get_running_loop().sock_recv(client, 65536):
                pieces.append(piece)
    return b"".join(pieces)


async def message(place: Place, *pieces: bytes) -> bytes:
    """Return what a client is told that sends these pieces."""
    with dialled(place) as client:
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
def test_no_bytes_and_no_pauses_between_them_break_anything(pieces: list[bytes]) -> None:
    """Whatever is sent, the answers are HTTP, none holds a token unasked, and others go on."""

    async def send() -> bytes:
        async with served() as place:
            telling = asyncio.create_task(message(place, *pieces))
            await assert_served(place)
            await place.stop()
            return await telling

    text = asyncio.run(send())
    assert text == b"" or text.startswith(b"HTTP/1.")
    assert b"token-1" not in text or any(TOKEN.encode() in piece for piece in pieces)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 5000 + b"\r\n\r\n",),
        (b"GET / HTTP/1.1\r\n", *(b"X-%d: x\r\n" % number for number in range(200)), b"\r\n"),
    ],
)
async def test_what_is_too_long_is_refused(pieces: tuple[bytes, ...]) -> None:
    """No request here needs more than a line or two."""
    async with served() as place:
        text = await message(place, *pieces)
        assert text.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
        assert b"application/problem+json" in text


@pytest.mark.timing
@pytest.mark.parametrize("first", [b"", REQUEST])
@pytest.mark.parametrize("endless", [b"GET /" + b"x" * 80, b"GET / HTTP/1.1\r\nX: " + b"x" * 80])
async def test_a_connection_without_a_whole_request_is_closed(
    monkeypatch: pytest.MonkeyPatch, first: bytes, endless: bytes
) -> None:
    """A byte now and then does not help, neither at first nor after an answer."""
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.3)

    async def dribble(client: socket.socket) -> None:
        client.send(first)
        for byte in endless:
            await asyncio.get_running_loop().sock_sendall(client, bytes((byte,)))
            await asyncio.sleep(0.02)

    async with served() as place:
        with dialled(place) as client:
            dribbling = asyncio.create_task(dribble(client))
            began = time.monotonic()
            await read(client)
            assert 0.2 < time.monotonic() - began < 3
            await asyncio.wait({dribbling})
            assert isinstance(dribbling.exception(), ConnectionError)


async def test_a_body_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for one, and the answer does not depend on it."""
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.2)
    async with served() as place:
        text = await message(
            place,
            b"POST /v1/apps/payments/refresh?wait=0 HTTP/1.1\r\nHost: x\r\n",
            b"Content-Length: 9\r\n\r\nabc",
        )
        assert text.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_takes_nothing_in_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it asked for would be kept for it for ever; and it is kept only once."""
    monkeypatch.setattr(connection, "STUCK_SECONDS", 0.3)
    async with served() as place:
        with dialled(place) as client, pytest.raises(OSError, match=r"reset|Broken pipe"):
            await send_on(client)
        assert len(place.answered) < 5000
        await assert_served(place)


async def send_on(client: socket.socket) -> None:
    """Send requests as long as somebody takes them in, and read nothing."""
    async with asyncio.timeout(20):
        while True:
            await asyncio.get_running_loop().sock_sendall(client, REQUEST * 100)


async def test_a_slow_reader_that_goes_on_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only those who stop that are cut off."""
    monkeypatch.setattr(connection, "STUCK_SECONDS", 1.0)
    async with served() as place:
        with dialled(place) as client:
            client.sendall(REQUEST * 1000)
            loop, text = asyncio.get_running_loop(), b""
            while text.count(b'"access_token"') < 1000:
                text += await loop.sock_recv(client, 8192)
                await asyncio.sleep(0.005)


async def test_a_thousand_clients_that_want_a_token_that_lasts_cost_one_refresh() -> None:
    """All the workers of a service, started at once."""
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
async def test_hundreds_of_stuck_connections_of_one_user_delay_nobody_else() -> None:
    """Nor do they cost the daemon more than that user's share."""
    async with served({"payments": USERS}) as place:
        with stranger(place.path, STUCK.format(number=500), As("1234")):
            await eventually(
                lambda: len(place.observer.of(ConnectionRejected)) == 500 - SHARES.user
            )
            began = time.monotonic()
            others = [asyncio.to_thread(ask_as, place.path, uid) for uid in ("1235", "0", "1235")]
            assert set(await asyncio.gather(*others)) == {"200"}
            assert time.monotonic() - began < 5
            assert await asyncio.to_thread(ask_as, place.path, "1234") == "503"
            turned = place.observer.of(ConnectionRejected)[0]
            assert (turned.uid, turned.connections) == (1234, SHARES.user)
        for _ in range(100):
            if await asyncio.to_thread(ask_as, place.path, "1234") == "200":
                break
        else:
            raise AssertionError("its share was not given back")


def ask_as(path: Path, uid: str) -> str:
    """Return the code that a user's request is answered with."""
    return answer(path, f"GET {TOKEN} HTTP/1.0\r\n\r\n", As(uid)).split()[1]


async def test_who_is_turned_away_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """In HTTP, though its request was never read; and its share is its again afterwards."""
    monkeypatch.setattr(listener, "_shares", lambda: Shares(user=1, operator=1, everyone=10))
    async with served() as place:
        with dialled(place):
            text = await message(place, REQUEST)
            assert text.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"Content-Type: application/problem+json\r\n" in text
            assert b"\r\nRetry-After: 1\r\n" in text
            assert b"too many connections" in text
            assert b"token-1" not in text
        await asyncio.sleep(0.1)
        assert b"token-1" in await message(place, f"GET {TOKEN} HTTP/1.0\r\n\r\n".encode())


async def test_who_is_turned_away_and_gone_already_harms_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is nobody left to tell."""
    monkeypatch.setattr(listener, "_shares", lambda: Shares(user=0, operator=0, everyone=0))
    async with served() as place:
        for _ in range(10):
            with dialled(place):
                pass
        await eventually(lambda: len(place.observer.of(ConnectionRejected)) == 10)


@pytest.mark.timing
async def test_who_is_turned_away_may_take_its_time_only_while_few_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever hammers at the door must not fill the hall with those who are leaving."""
    monkeypatch.setattr(listener, "_shares", lambda: Shares(user=0, operator=0, everyone=0))
    monkeypatch.setattr(reception, "MOST_PARTING", 2)
    monkeypatch.setattr(reception, "PARTING_SECONDS", 0.2)
    async with served() as place:
        with ExitStack() as clients:
            turned = [clients.enter_context(dialled(place)) for _ in range(5)]
            await eventually(lambda: len(place.observer.of(ConnectionRejected)) == 5)
            began = time.monotonic()
            for client in turned[:3]:
                assert (await read(client)).startswith(b"HTTP/1.1 503 ")
            assert time.monotonic() - began < 0.2
            await place.stop()
            for client in turned[3:]:
                assert (await read(client)).startswith(b"HTTP/1.1 503 ")
            await asyncio.sleep(0.3)


@pytest.mark.timing
async def test_a_stop_waits_for_no_client() -> None:
    """The daemon promises to be gone within 5 s, and has sessions to end in them."""
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
                clients.enter_context(dialled(place)).send(request)
            waiting = asyncio.create_task(place.get(f"{TOKEN}?wait=300"))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            await place.stop()
            assert time.monotonic() - began < 1.5
            code, problem = await waiting
            assert (code, problem["detail"]) == (503, "the app is being stopped")
