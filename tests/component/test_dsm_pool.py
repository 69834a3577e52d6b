"""When connections are reused, and when they are replaced."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import pytest

from refresherd.adapters.dsm.client import Connections
from refresherd.adapters.dsm.tls import CHECK_SECONDS
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Secret
from refresherd.engine.ports import SessionClient
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import (
    GRANT,
    Authority,
    Behaviour,
    Connection,
    answering,
    reply,
    serving,
)
from support.fakes import API_KEY, FakeClock

GRANTING = answering(reply(200, GRANT))


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that the test moves."""
    return FakeClock()


@pytest.fixture
async def connections(clock: FakeClock) -> AsyncIterator[Connections]:
    """Yield connections that are closed after the test."""
    async with Connections(KeyedExecutor(), clock) as opened:
        yield opened


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return a CA."""
    return Authority(tmp_path)


def client(connections: Connections, endpoint: Endpoint, name: str = "payments") -> SessionClient:
    """Return the client of an app."""
    return connections.client(App(name, endpoint, ApiKeyEnv("KEY")))


async def login(connections: Connections, endpoint: Endpoint) -> None:
    """Log in within 5 s."""
    await client(connections, endpoint).login(Secret(API_KEY), 5)


async def test_consecutive_requests_share_a_connection(
    connections: Connections, authority: Authority
) -> None:
    """A TLS handshake costs ten times as much as a request."""
    async with serving(GRANTING, authority.server()) as peer:
        for name in ("a", "b", "c"):
            app = client(connections, Endpoint(peer.https, authority.ca_file), name)
            await app.login(Secret(API_KEY), 5)
            await app.reauth(Secret("token"), 5)
        assert (peer.connections, len(peer.requests)) == (1, 6)


async def test_apps_of_one_route_share_their_connections(connections: Connections) -> None:
    """A pool for each of ten thousand apps would cost 61 MiB; `timeout` is no part of a route."""
    async with serving(GRANTING) as peer:
        for endpoint in (
            Endpoint(peer.http),
            Endpoint(peer.http, timeout=5),
            Endpoint(peer.http, max_in_flight=1),
        ):
            for name in ("a", "b"):
                await client(connections, endpoint, name).login(Secret(API_KEY), 5)
        assert (peer.connections, len(peer.requests)) == (2, 6)


async def test_terminations_do_not_wait_for_hanging_attempts(
    connections: Connections,
) -> None:
    """Sessions can be ended while as many attempts as are allowed hang."""
    all_there = asyncio.Event()
    release = asyncio.Event()

    async def hold(connection: Connection) -> None:
        await connection.request()
        if len(connection.peer.requests) == 5:
            all_there.set()
        await release.wait()
        await connection.send(reply(200, GRANT))

    async with serving(hold) as peer, asyncio.TaskGroup() as group:
        app = client(connections, Endpoint(peer.http, max_in_flight=4))
        for _ in range(4):
            group.create_task(app.reauth(Secret("token"), 5))
        group.create_task(app.terminate(Secret("token"), 5))
        async with asyncio.timeout(5):
            await all_there.wait()
        release.set()
    assert peer.connections == 5


async def test_a_connection_that_the_server_closed_is_not_used(connections: Connections) -> None:
    """Servers close idle connections after seconds, which is noticed before the next request."""
    closed = asyncio.Event()

    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.send(reply(200, GRANT))
        connection.writer.close()
        await connection.writer.wait_closed()
        closed.set()

    async with serving(once) as peer:
        await login(connections, Endpoint(peer.http))
        await closed.wait()
        await asyncio.sleep(0.05)
        await login(connections, Endpoint(peer.http))
        assert (peer.connections, len(peer.requests)) == (2, 2)


@pytest.mark.parametrize("later", [False, True])
async def test_an_unrequested_answer_is_discarded(connections: Connections, *, later: bool) -> None:
    """Apps share connections, so a surplus answer would become the next app's token."""
    stray = reply(200, GRANT.replace(b"new-token", b"stray-token"))
    sent = asyncio.Event()

    async def twice(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(reply(200, GRANT) + (b"" if later else stray))
            if later:
                await asyncio.sleep(0.05)
                await connection.send(stray)
            sent.set()

    async with serving(twice) as peer:
        app = client(connections, Endpoint(peer.http))
        for _ in range(3):
            sent.clear()
            grant = await app.login(Secret(API_KEY), 5)
            assert grant.access_token.reveal() == "new-token"
            await sent.wait()
            await asyncio.sleep(0.05)
        assert peer.connections == 3


def stale(replies: int, *, with_reset: bool) -> Behaviour:
    """Answer some requests of each connection, and end it when the next one comes."""

    async def behave(connection: Connection) -> None:
        for _ in range(replies):
            await connection.request()
            await connection.send(reply(200, GRANT))
        await connection.reader.readuntil(b"\r\n\r\n")
        if with_reset:
            endpoint = connection.writer.get_extra_info("socket")
            endpoint.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))

    return behave


@pytest.mark.parametrize("with_reset", [False, True])
async def test_a_request_on_a_stale_connection_is_sent_again_on_a_new_one(
    connections: Connections, *, with_reset: bool
) -> None:
    """The server closed it just as the request left, which is no failure worth reporting."""
    async with serving(stale(1, with_reset=with_reset)) as peer:
        endpoint = Endpoint(peer.http)
        for _ in range(4):
            await login(connections, endpoint)
        assert peer.connections == 4


async def two_stale(connection: Connection) -> None:
    """Answer two connections once both are open, and end each when its next request comes."""
    peer = connection.peer
    await connection.request()
    while peer.connections < 2:  # noqa: ASYNC110  # a peer has no event to wait for
        await asyncio.sleep(0)
    await connection.send(reply(200, GRANT))
    while peer.connections > 2:
        await connection.request()
        await connection.send(reply(200, GRANT))
    await connection.reader.readuntil(b"\r\n\r\n")


async def test_a_stale_connection_drops_the_whole_pool(connections: Connections) -> None:
    """After an outage all of them are stale, and trying each in turn would take too long."""
    async with serving(two_stale) as peer:
        endpoint = Endpoint(peer.http)
        await asyncio.gather(login(connections, endpoint), login(connections, endpoint))
        await login(connections, endpoint)
        assert peer.connections == 3


async def test_concurrent_requests_on_stale_connections_all_succeed(
    connections: Connections,
) -> None:
    """No request may drop the new connections that another one has just opened."""
    async with serving(two_stale) as peer:
        endpoint = Endpoint(peer.http)
        await asyncio.gather(login(connections, endpoint), login(connections, endpoint))
        await asyncio.gather(login(connections, endpoint), login(connections, endpoint))
        await login(connections, endpoint)
        assert peer.connections <= 4


async def test_a_server_that_always_hangs_up_gets_one_more_request_only(
    connections: Connections,
) -> None:
    """A server in a crash loop must not be flooded with requests."""
    answered = asyncio.Event()

    async def behave(connection: Connection) -> None:
        await connection.request()
        if not answered.is_set():
            await connection.send(reply(200, GRANT))
            answered.set()
            await connection.request()

    async with serving(behave) as peer:
        endpoint = Endpoint(peer.http)
        await login(connections, endpoint)
        with pytest.raises(Retryable) as caught:
            await login(connections, endpoint)
        assert caught.value.reason is Reason.CONNECT
        assert len(peer.requests) == 3


async def test_connections_are_not_reused_after_a_suspend(
    connections: Connections, clock: FakeClock
) -> None:
    """The other end forgot them, and a NAT on the way would drop a request in silence."""
    async with serving(GRANTING) as peer:
        endpoint = Endpoint(peer.http)
        await login(connections, endpoint)
        clock.advance(3600)
        await login(connections, endpoint)
        await login(connections, endpoint)
        assert peer.connections == 2


async def test_concurrent_requests_after_a_suspend_share_the_new_pool(
    connections: Connections, clock: FakeClock
) -> None:
    """After a resume every app is overdue at once."""
    async with serving(GRANTING) as peer:
        endpoint = Endpoint(peer.http)
        await login(connections, endpoint)
        clock.advance(3600)
        await asyncio.gather(*[login(connections, endpoint) for _ in range(4)])
        await asyncio.gather(*[login(connections, endpoint) for _ in range(4)])
        assert peer.connections <= 5


async def test_a_request_under_way_outlives_its_dropped_pool(
    connections: Connections, clock: FakeClock
) -> None:
    """The dropped connections are closed after the last answer."""
    requested, release = asyncio.Event(), asyncio.Event()

    async def behave(connection: Connection) -> None:
        while True:
            await connection.request()
            if not requested.is_set():
                requested.set()
                await release.wait()
            await connection.send(reply(200, GRANT))

    async with serving(behave) as peer:
        endpoint = Endpoint(peer.http)
        first = asyncio.create_task(login(connections, endpoint))
        await requested.wait()
        clock.advance(3600)
        await login(connections, endpoint)
        release.set()
        await first
        await login(connections, endpoint)
        assert peer.connections == 2


async def test_a_changed_ca_is_used_from_the_next_request_on(
    connections: Connections, clock: FakeClock, tmp_path: Path
) -> None:
    """A rotated CA needs no restart, and pooled connections were verified by the old one."""
    (tmp_path / "other").mkdir()
    old, new = Authority(tmp_path), Authority(tmp_path / "other", "Other CA")
    ca_file = tmp_path / "trusted.pem"
    ca_file.write_bytes(old.ca_file.read_bytes())
    async with serving(GRANTING, old.server()) as peer, serving(GRANTING, new.server()) as other:
        await login(connections, Endpoint(peer.https, ca_file))
        ca_file.write_bytes(new.ca_file.read_bytes())
        clock.advance(CHECK_SECONDS)
        await login(connections, Endpoint(other.https, ca_file))
        with pytest.raises(Retryable) as caught:
            await login(connections, Endpoint(peer.https, ca_file))
        assert caught.value.reason is Reason.TLS


async def test_unchanged_files_keep_the_connections(
    connections: Connections, clock: FakeClock, authority: Authority
) -> None:
    """The check for changes must not cost a handshake each second."""
    async with serving(GRANTING, authority.server()) as peer:
        endpoint = Endpoint(peer.https, authority.ca_file)
        await login(connections, endpoint)
        clock.advance(CHECK_SECONDS / 2)
        clock.advance(CHECK_SECONDS / 2 - 0.01)
        await login(connections, endpoint)
        assert peer.connections == 1


@pytest.mark.parametrize("requests", [0, 1])
async def test_closing_ends_requests_under_way(clock: FakeClock, requests: int) -> None:
    """A stop does not wait for a hanging DSM, and no connection is opened afterwards."""
    hanging = asyncio.Event()

    async def behave(connection: Connection) -> None:
        for _ in range(requests):
            await connection.request()
            await connection.send(reply(200, GRANT))
        await connection.request()
        hanging.set()
        await connection.reader.read()

    connections = Connections(KeyedExecutor(), clock)
    async with serving(behave) as peer:
        endpoint = Endpoint(peer.http)
        for _ in range(requests):
            await login(connections, endpoint)
        attempt = asyncio.create_task(client(connections, endpoint).login(Secret(API_KEY), 60))
        await hanging.wait()
        for _ in range(2):
            async with connections:
                pass
        for late in (attempt, login(connections, endpoint)):
            with pytest.raises(Retryable) as caught:
                await late
            assert caught.value.reason is Reason.CONNECT
        assert peer.connections == 1
