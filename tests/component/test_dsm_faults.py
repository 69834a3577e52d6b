"""What can go wrong between a request and its answer, on real sockets."""

import asyncio
import gzip
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from refresherd.adapters.dsm.client import Connections
from refresherd.adapters.dsm.content_codings import LONGEST_ANSWER
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Grant, Secret
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import GRANT, Connection, answering, reply, serving
from support.fakes import API_KEY, FakeClock


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies of the shell that runs the tests."""
    for name in ("http_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    """Yield connections that are closed after the test."""
    async with Connections(KeyedExecutor(), FakeClock()) as opened:
        yield opened


async def login(connections: Connections, url: str, timeout: float = 5) -> Grant:
    """Log in at an endpoint."""
    app = App("payments", Endpoint(url), ApiKeyEnv("KEY"))
    return await connections.client(app).login(Secret(API_KEY), timeout)


async def fault(connections: Connections, url: str, timeout: float = 5) -> tuple[Reason, str]:
    """Return why a login fails."""
    with pytest.raises(Retryable) as caught:
        await login(connections, url, timeout)
    assert caught.value.__context__ is None
    return caught.value.reason, caught.value.message


async def test_a_login_is_one_small_post(connections: Connections) -> None:
    """These bytes are all that DSM and any proxy in between see of a login."""
    async with serving(answering(reply(200, GRANT))) as peer:
        assert (await login(connections, peer.http)).access_token.reveal() == "new-token"
    lines = peer.requests[0].decode().strip().split("\r\n")
    assert lines[0] == "POST /sys/v1/session/auth HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers.pop("User-Agent").startswith("refresherd/")
    assert headers == {
        "Host": f"127.0.0.1:{peer.port}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Authorization": f"Basic {API_KEY}",
        "Content-Length": "0",
    }


@pytest.mark.parametrize(
    "fields", [["Content-Encoding: gzip"], ["Content-Encoding: X-GZIP", "Content-Encoding: "]]
)
async def test_a_compressed_answer_is_decompressed(
    connections: Connections, fields: list[str]
) -> None:
    """A gateway may compress DSM's answers."""
    async with serving(answering(reply(200, gzip.compress(GRANT), *fields))) as peer:
        assert (await login(connections, peer.http)).lifetime == 600


@pytest.mark.parametrize("coding", ["br", "gzip"])
async def test_an_undecodable_error_is_still_that_error(
    connections: Connections, coding: str
) -> None:
    """Whether DSM refuses the key does not depend on what a gateway does to the explanation."""
    refusal = reply(401, b"\x8b\x02\x80not compressed", f"Content-Encoding: {coding}")
    async with serving(answering(refusal)) as peer:
        with pytest.raises(Rejected):
            await login(connections, peer.http)


@pytest.mark.parametrize(
    "fields", [["X: " + "x" * 9000], [f"X-{n}: y" for n in range(200)]], ids=["long", "many"]
)
async def test_a_large_head_is_read(connections: Connections, fields: list[str]) -> None:
    """Gateways add policies and cookies, which are no reason to refuse a token."""
    async with serving(answering(reply(200, GRANT, *fields))) as peer:
        assert (await login(connections, peer.http)).lifetime == 600


async def test_cookies_are_not_kept(connections: Connections) -> None:
    """DSM's API has no cookies, and a load balancer's would bind all apps to one node."""
    async with serving(answering(reply(200, GRANT, "Set-Cookie: node=1; Path=/"))) as peer:
        await login(connections, peer.http)
        await login(connections, peer.http)
        assert b"Cookie" not in peer.requests[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(connections: Connections, status: int) -> None:
    """The credential would go to wherever the redirect points."""
    async with (
        serving(answering(reply(200, GRANT))) as other,
        serving(answering(reply(status, b"", f"Location: {other.http}/x?y"))) as peer,
    ):
        reason, message = await fault(connections, peer.http)
        assert reason is Reason.BAD_RESPONSE
        assert message.endswith("redirects are not followed (to 127.0.0.1)")
        assert other.connections == 0


async def test_the_message_for_a_refused_connection_names_the_address(
    connections: Connections,
) -> None:
    """DSM is down, or the port is wrong."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert await fault(connections, f"http://127.0.0.1:{port}") == (
        Reason.CONNECT,
        f"cannot connect to 127.0.0.1:{port}: Connection refused",
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".invalid"])
async def test_the_message_for_an_unknown_host_names_it(
    connections: Connections, host: str
) -> None:
    """The endpoint has a typing error, or there is no DNS."""
    reason, message = await fault(connections, f"http://{host}:1")
    assert reason is Reason.CONNECT
    assert message.startswith(f"{host} cannot be resolved: ")


async def test_names_are_resolved_by_our_own_resolver(connections: Connections) -> None:
    """Its results suit aiohttp, and every host can resolve this name."""
    async with serving(answering(reply(200, GRANT))) as peer:
        assert (await login(connections, f"http://localhost:{peer.port}")).lifetime == 600


async def silent(connection: Connection) -> None:
    """Read a request and never answer."""
    await connection.request()
    await connection.reader.read()


async def half_a_head(connection: Connection) -> None:
    """Stop in the middle of the answer's head."""
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-")
    await connection.reader.read()


async def half_a_body(connection: Connection) -> None:
    """Stop in the middle of the answer's body."""
    await connection.request()
    await connection.send(reply(200, GRANT)[:-10])
    await connection.reader.read()


async def drip(connection: Connection) -> None:
    """Send the answer byte by byte, so that each read is quick, but the whole is not."""
    await connection.request()
    for byte in reply(200, GRANT + b" " * 10_000):
        await connection.send(bytes([byte]))
        await asyncio.sleep(0.005)


@pytest.mark.timing
@pytest.mark.parametrize("hang", [silent, half_a_head, half_a_body, drip])
async def test_a_hang_at_any_stage_ends_with_the_timeout(
    connections: Connections, hang: Callable[[Connection], Awaitable[None]]
) -> None:
    """The timeout covers the whole attempt."""
    async with serving(hang) as peer:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await fault(connections, peer.http, 0.2) == (
            Reason.TIMEOUT,
            "no answer within 0.2 s",
        )
        assert 0.2 <= loop.time() - began < 1


async def test_a_hanging_connect_ends_with_the_timeout(connections: Connections) -> None:
    """A full backlog looks like a firewall that drops packets: nobody answers the SYN."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.connect(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert (await fault(connections, url, 0.2))[0] is Reason.TIMEOUT


async def test_a_cancelled_request_closes_its_connection(connections: Connections) -> None:
    """Its late answer must not be taken for another request's."""
    closed = asyncio.Event()
    requested = asyncio.Event()

    async def watch(connection: Connection) -> None:
        await connection.request()
        requested.set()
        await connection.reader.read()
        closed.set()

    async with serving(watch) as peer:
        attempt = asyncio.create_task(login(connections, peer.http))
        await requested.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        async with asyncio.timeout(5):
            await closed.wait()


async def hang_up(connection: Connection) -> None:
    """Close the connection instead of answering."""
    await connection.request()


async def reset(connection: Connection) -> None:
    """Reset the connection instead of answering."""
    await connection.request()
    linger = struct.pack("ii", 1, 0)
    connection.writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, linger
    )


@pytest.mark.parametrize("end", [hang_up, reset])
async def test_a_new_connection_that_ends_without_an_answer_is_not_retried(
    connections: Connections, end: Callable[[Connection], Awaitable[None]]
) -> None:
    """It was not a stale connection, and a second request would double the server's load."""
    async with serving(end) as peer:
        reason, message = await fault(connections, peer.http)
        assert reason is Reason.CONNECT
        assert "connection was" in message
        assert peer.connections == 1


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

PAGE = "the answer is a web page (text/html), not DSM's; a proxy or portal may have sent it: Log in"

TOO_LONG = (
    "the answer's head has more than 512 fields, or one of more than 32768 bytes; "
    "a proxy may have added them"
)

CHUNKED = PLAIN + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (reply(200, GRANT)[:-10], "the answer broke off or is badly encoded"),
        (CHUNKED + b'9\r\n{"to', "the answer broke off or is badly encoded"),
        (CHUNKED + b"zzz\r\n{}\r\n", "the answer is not HTTP"),
        (
            reply(200, b"\x1f\x8bnot gzip", "Content-Encoding: gzip"),
            "the answer broke off or is badly encoded",
        ),
        (
            reply(200, GRANT, "Content-Encoding: br"),
            "the answer has an unknown content coding br; a proxy may have added it",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (PLAIN + b"X: " + b"x" * 100_000 + b"\r\n\r\n", TOO_LONG),
        (PLAIN + b"X: y\r\n" * 600 + b"\r\n", TOO_LONG),
        (reply(200), "the answer is empty; a proxy may have sent it"),
        (
            reply(200, b"<title>Log in</title>", "Content-Type: text/html"),
            PAGE,
        ),
    ],
)
async def test_a_broken_answer_is_a_bad_response(
    connections: Connections, answer: bytes, message: str
) -> None:
    """The answer is not DSM's, or not all of it."""

    async def send(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)
        connection.writer.close()
        await connection.writer.wait_closed()

    async with serving(send) as peer:
        assert await fault(connections, peer.http) == (Reason.BAD_RESPONSE, message)


@pytest.mark.parametrize("status", [200, 503])
async def test_an_endless_answer_is_refused(connections: Connections, status: int) -> None:
    """A server that sends a large download for every path must not fill the memory."""

    async def flood(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 %d Told So\r\n\r\n" % status)
        while True:
            await connection.send(b"x" * 65536)

    async with serving(flood) as peer:
        message = f"the answer is longer than {LONGEST_ANSWER} bytes, so it is not from DSM"
        assert await fault(connections, peer.http) == (Reason.BAD_RESPONSE, message)


async def test_a_decompression_bomb_does_not_fill_the_memory(connections: Connections) -> None:
    """A compressed answer of 200 KB may hold 200 MB."""
    bomb = gzip.compress(bytes(200_000_000), compresslevel=9)
    async with serving(answering(reply(200, bomb, "Content-Encoding: gzip"))) as peer:
        await fault(connections, f"{peer.http}/warm-up")
        tracemalloc.start()
        try:
            reason, _ = await fault(connections, peer.http)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert reason is Reason.BAD_RESPONSE
        assert peak < 16 * LONGEST_ANSWER


async def test_an_echoed_credential_is_not_in_the_message(connections: Connections) -> None:
    """Debugging proxies answer with the request that they received."""

    async def echo(connection: Connection) -> None:
        await connection.send(reply(401, await connection.request()))

    async with serving(echo) as peer:
        with pytest.raises(Rejected) as caught:
            await login(connections, peer.http)
        assert "401" in caught.value.message
        assert API_KEY not in repr(caught.value) + caught.value.message
