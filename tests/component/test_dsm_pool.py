"""Which connections are reused, and when they are not."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import pytest

from refresherd.adapters.dsm import Connections, trust
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
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
async def connections(clock: FakeClock) -> AsyncIterator[Connections]:
    """Yield connections that end with the test."""
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
    """Log in with time enough."""
    await client(connections, endpoint).login(Secret(API_KEY), 5)


async def test_requests_one_after_the_other_share_a_connection(
    connections: Connections, authority: Authority
) -> None:
    """A TLS handshake costs ten times as much as a request."""
    async with serving(GRANTING, authority.server()) as peer:
        for name in ("a", "b", "c"):
            app = client(connections, Endpoint(peer.https, authority.ca_file), name)
            await app.login(Secret(API_KEY), 5)
            await app.reauth(Secret("token"), 5)
        assert (peer.connections, len(peer.requests)) == (1, 6)


async def test_attempts_and_terminations_need_not_wait_for_each_other(
    connections: Connections,
) -> None:
    """As many attempts as are allowed may hang, and sessions still be ended."""
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
    """Servers close what idles for a few seconds; that is noticed before the next request."""
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
async def test_an_answer_that_nobody_asked_for_is_nobodys(
    connections: Connections, *, later: bool
) -> None:
    """Apps share connections: what comes too much on one would be the next app's token."""
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
    """Answer so many requests of each connection, and end it as the next one comes."""

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
    """The server closed it just as the request left: no failure that anybody need hear of."""
    async with serving(stale(1, with_reset=with_reset)) as peer:
        endpoint = Endpoint(peer.http)
        for _ in range(4):
            await login(connections, endpoint)
        assert peer.connections == 4


async def two_stale(connection: Connection) -> None:
    """Answer two connections once both are there, and end each as its next request comes."""
    peer = connection.peer
    await connection.request()
    while peer.connections < 2:  # noqa: ASYNC110  # a peer has no event to wait for
        await asyncio.sleep(0)
    await connection.send(reply(200, GRANT))
    while peer.connections > 2:
        await connection.request()
        await connection.send(reply(200, GRANT))
    await connection.reader.readuntil(b"\r\n\r\n")


async def test_one_stale_connection_condemns_its_siblings(connections: Connections) -> None:
    """After an outage all of them are stale, and trying one after the other would take long."""
    async with serving(two_stale) as peer:
        endpoint = Endpoint(peer.http)
        await asyncio.gather(login(connections, endpoint), login(connections, endpoint))
        await login(connections, endpoint)
        assert peer.connections == 3


async def test_requests_that_meet_stale_connections_together_all_get_through(
    connections: Connections,
) -> None:
    """None may drop the new connections that another has just opened."""
    async with serving(two_stale) as peer:
        endpoint = Endpoint(peer.http)
        await asyncio.gather(login(connections, endpoint), login(connections, endpoint))
        await asyncio.gather(login(connections, endpoint), login(connections, endpoint))
        await login(connections, endpoint)
        assert peer.connections <= 4


async def test_a_server_that_always_hangs_up_gets_no_more_than_one_more_try(
    connections: Connections,
) -> None:
    """A crash loop at the other end must not be fed with requests."""
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


async def test_after_a_suspend_old_connections_are_not_used(
    connections: Connections, clock: FakeClock
) -> None:
    """The other end forgot them, and a NAT on the way would swallow a request without a word."""
    async with serving(GRANTING) as peer:
        endpoint = Endpoint(peer.http)
        await login(connections, endpoint)
        clock.advance(3600)
        await login(connections, endpoint)
        await login(connections, endpoint)
        assert peer.connections == 2


async def test_requests_that_wake_up_together_share_the_new_connections(
    connections: Connections, clock: FakeClock
) -> None:
    """On resume every app is overdue at once."""
    async with serving(GRANTING) as peer:
        endpoint = Endpoint(peer.http)
        await login(connections, endpoint)
        clock.advance(3600)
        await asyncio.gather(*[login(connections, endpoint) for _ in range(4)])
        await asyncio.gather(*[login(connections, endpoint) for _ in range(4)])
        assert peer.connections <= 5


async def test_a_request_under_way_survives_that_its_connections_are_dropped(
    connections: Connections, clock: FakeClock
) -> None:
    """They are closed once the last answer has come."""
    by_operator, release = asyncio.Event(), asyncio.Event()

    async def behave(connection: Connection) -> None:
        while True:
            await connection.request()
            if not by_operator.is_set():
                by_operator.set()
                await release.wait()
            await connection.send(reply(200, GRANT))

    async with serving(behave) as peer:
        endpoint = Endpoint(peer.http)
        first = asyncio.create_task(login(connections, endpoint))
        await by_operator.wait()
        clock.advance(3600)
        await login(connections, endpoint)
        release.set()
        await first
        await login(connections, endpoint)
        assert peer.connections == 2


async def test_a_changed_ca_is_trusted_from_the_next_request_on(
    connections: Connections, clock: FakeClock, tmp_path: Path
) -> None:
    """A rotated CA must need no restart; pooled connections were trusted for the old one's sake."""
    (tmp_path / "other").mkdir()
    old, new = Authority(tmp_path), Authority(tmp_path / "other", "Other CA")
    ca_file = tmp_path / "trusted.pem"
    ca_file.write_bytes(old.ca_file.read_bytes())
    async with serving(GRANTING, old.server()) as peer, serving(GRANTING, new.server()) as other:
        await login(connections, Endpoint(peer.https, ca_file))
        ca_file.write_bytes(new.ca_file.read_bytes())
        clock.advance(trust.CHECK_SECONDS)
        await login(connections, Endpoint(other.https, ca_file))
        with pytest.raises(Retryable) as caught:
            await login(connections, Endpoint(peer.https, ca_file))
        assert caught.value.reason is Reason.TLS


async def test_files_that_did_not_change_keep_the_connections(
    connections: Connections, clock: FakeClock, authority: Authority
) -> None:
    """Looking at them must not cost a handshake each second."""
    async with serving(GRANTING, authority.server()) as peer:
        endpoint = Endpoint(peer.https, authority.ca_file)
        await login(connections, endpoint)
        clock.advance(trust.CHECK_SECONDS / 2)
        clock.advance(trust.CHECK_SECONDS / 2 - 0.01)
        await login(connections, endpoint)
        assert peer.connections == 1


@pytest.mark.parametrize("requests", [0, 1])
async def test_closing_ends_requests_under_way(clock: FakeClock, requests: int) -> None:
    """A stop does not wait for a hanging DSM, and nothing opens a connection after it."""
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
        await connections.aclose()
        await connections.aclose()
        for late in (attempt, login(connections, endpoint)):
            with pytest.raises(Retryable) as caught:
                await late
            assert caught.value.reason is Reason.CONNECT
        assert peer.connections == 1
