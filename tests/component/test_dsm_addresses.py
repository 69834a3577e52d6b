"""Endpoints and proxies with several addresses, some of which are sick."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import connector

from refresherd.adapters.dsm.addresses import SUSPECT_SECONDS, Addresses
from refresherd.adapters.dsm.attempt import Attempt
from refresherd.adapters.dsm.client import Connections
from refresherd.domain.errors import Retryable
from refresherd.domain.model import ApiKeyEnv, App, Certificate, Endpoint, Secret
from support.dsm_loopback import (
    GRANT,
    Authority,
    Connection,
    Names,
    Peer,
    Tunnel,
    answering,
    reply,
    serving,
)
from support.fakes import API_KEY, FakeClock

HOST = "dsm.example"

SICK, GOOD, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"

GRANTING = answering(reply(200, GRANT))

FAILING = answering(reply(503))


async def silent(connection: Connection) -> None:
    """Read requests and never answer."""
    while True:
        await connection.request()


async def mute(connection: Connection) -> None:
    """Accept a connection and neither read nor send anything."""
    connection.peer.requests.append(b"")
    await asyncio.Event().wait()


async def hang_up(connection: Connection) -> None:
    """Close the connection instead of answering."""
    await connection.request()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies of the shell that runs the tests."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Place:
    """A host name with several addresses, and apps that use it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.clock = FakeClock()
        self.names = Names(HOST)
        self.connections = Connections(self.names, self.clock)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.endpoint = Endpoint(f"http://{HOST}:{self.port}")

    async def add(self, address: str, behave: Callable[[Connection], Awaitable[None]]) -> Peer:
        """Serve at another address of the name, on the same port."""
        self.names.addresses += (address,)
        return await self.serve(address, behave)

    async def serve(
        self, address: str, behave: Callable[[Connection], Awaitable[None]], port: int = 0
    ) -> Peer:
        """Serve at an address, which the name need not have."""
        serving_ = serving(behave, address=address, port=port or self.port)
        return await self._stack.enter_async_context(serving_)

    async def login(self, timeout: float = 5, endpoint: Endpoint | None = None) -> str:
        """Log in; return the token, or the reason and message of the failure."""
        app = App("payments", endpoint or self.endpoint, ApiKeyEnv("KEY"))
        try:
            grant = await self.connections.client(app).login(Secret(API_KEY), timeout)
        except Retryable as error:
            return f"{error.reason}: {error.message}"
        return grant.access_token.reveal()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Yield a host name without addresses."""
    async with AsyncExitStack() as stack:
        made = Place(stack)
        await stack.enter_async_context(made.connections)
        yield made


@pytest.mark.parametrize(
    ("sick", "failure"),
    [
        (silent, "timeout: no answer within 0.2"),
        (hang_up, "connect: the connection was closed before an answer came"),
        (FAILING, "server_error: 503 Service Unavailable from /sys/v1/session/auth"),
        (answering(b"SSH-2.0\r\n"), "bad_response: the answer is not HTTP"),
        (answering(reply(200, b"OK")), "bad_response: the answer is not"),
        (answering(reply(404)), "bad_response: 404 Not Found"),
    ],
)
async def test_the_attempt_after_a_failure_goes_to_the_other_address(
    place: Place, sick: Callable[[Connection], Awaitable[None]], failure: str
) -> None:
    """The sick address may have got the request, so it is not sent twice in one attempt.

    The message names it, since an operator has to look at that one.
    Silence takes half of the time: the other address has to come in time as well.
    """
    first, second = await place.add(SICK, sick), await place.add(GOOD, GRANTING)
    message = await place.login(0.4)
    assert message.startswith(failure)
    assert message.endswith(f"; the address was {SICK}")
    assert (len(first.requests), len(second.requests)) == (1, 0)
    for _ in range(3):
        assert await place.login() == "new-token"
    assert (len(first.requests), second.connections) == (1, 1)


@pytest.mark.parametrize("failing", [FAILING, silent])
async def test_a_kept_connection_that_turns_bad_is_given_up(
    place: Place, failing: Callable[[Connection], Awaitable[None]]
) -> None:
    """A load balancer may keep the connection while the server behind it is down."""

    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(reply(200, GRANT))
        await failing(connection)

    first, second = await place.add(SICK, behave), await place.add(GOOD, GRANTING)
    assert await place.login() == "new-token"
    assert not (await place.login(0.4)).startswith("new-token")
    assert await place.login() == "new-token"
    assert (len(first.requests), len(second.requests)) == (2, 1)


async def test_a_single_address_gets_a_new_connection_after_a_server_error(place: Place) -> None:
    """Behind it a load balancer may choose another server for a new connection only."""

    async def behave(connection: Connection) -> None:
        await connection.request()
        fails = connection.peer.connections == 1
        await connection.send(reply(503) if fails else reply(200, GRANT))
        await GRANTING(connection)

    peer = await place.add(SICK, behave)
    assert (await place.login()).startswith("server_error")
    assert await place.login() == "new-token"
    assert peer.connections == 2


async def test_other_apps_avoid_the_address_on_their_kept_connections_too(place: Place) -> None:
    """What one app has learned at its cost helps all apps of the endpoint, of other routes also."""
    healthy = asyncio.Event()
    healthy.set()

    async def behave(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(reply(200, GRANT) if healthy.is_set() else reply(500))

    first, second = await place.add(SICK, behave), await place.add(GOOD, GRANTING)
    other_route = Endpoint(place.endpoint.url, max_in_flight=7)
    await asyncio.gather(place.login(), place.login())
    await place.login(endpoint=other_route)
    assert (len(first.requests), first.connections) == (3, 3)
    healthy.clear()
    assert (await place.login()).startswith("server_error")
    assert await place.login() == "new-token"
    assert await place.login(endpoint=other_route) == "new-token"
    assert (len(first.requests), len(second.requests)) == (4, 2)


async def test_an_address_that_failed_alone_comes_after_one_that_is_new_in_dns(
    place: Place,
) -> None:
    """Operators move a name away from a sick host, and often leave the old address in it."""
    first = await place.add(SICK, FAILING)
    await place.login()
    second = await place.add(GOOD, GRANTING)
    place.clock.advance(1)
    assert await place.login() == "new-token"
    assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_sick_addresses_are_tried_again_when_the_others_fail(place: Place) -> None:
    """The first one may have recovered by then; whichever failed longest ago comes first."""
    peers = [await place.add(address, FAILING) for address in (SICK, GOOD, THIRD)]
    counts = []
    for _ in range(6):
        place.clock.advance(2)
        await place.login()
        counts.append([len(peer.requests) for peer in peers])
    assert counts == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2]]


async def test_a_sick_address_is_forgiven(place: Place) -> None:
    """Otherwise a host that was restarted once would never again carry its part of the load."""
    first, second = await place.add(SICK, FAILING), await place.add(GOOD, hang_up)
    await place.login()
    place.clock.advance(SUSPECT_SECONDS - 1)
    await place.login()
    assert (len(first.requests), len(second.requests)) == (1, 1)
    place.clock.advance(1)
    await place.login()
    assert (len(first.requests), len(second.requests)) == (2, 1)


async def test_silence_takes_few_seconds_of_a_long_timeout(place: Place) -> None:
    """An app without a token, after a resume for instance, would wait for ten by default."""
    place.names.addresses = (SICK, GOOD)
    began = asyncio.get_running_loop().time()
    attempt = Attempt(began + 60)
    addresses = Addresses(HOST, place.port, place.names, place.clock)
    await addresses.resolve()
    connection = SimpleNamespace(transport=None, protocol=SimpleNamespace(should_close=False))
    limits = []
    for other_is_good in (True, False):
        async with attempt.begin() as limit:
            attempt.addresses, attempt.address, attempt.is_new = addresses, SICK, True
            assert attempt.accept(cast(connector.Connection, connection))
            limits.append(round((limit.when() or 0) - began))
        if other_is_good:
            addresses.failed(GOOD)
    assert limits == [5, 60]


async def test_slow_addresses_get_all_the_time_if_no_other_is_left(place: Place) -> None:
    """A DSM that is slow everywhere, but within `timeout`, must not be given up for ever."""

    async def slow(connection: Connection) -> None:
        await connection.request()
        await asyncio.sleep(0.6)
        await connection.send(reply(200, GRANT))

    await place.add(SICK, slow)
    await place.add(GOOD, slow)
    assert (await place.login(1.0)).startswith("timeout: no answer within 0.5")
    assert await place.login(1.0) == "new-token"


async def test_an_address_that_nobody_listens_at_costs_no_attempt(place: Place) -> None:
    """Nothing has been sent, so the next address gets the request in the same attempt."""
    place.names.addresses = (SICK,)
    second = await place.add(GOOD, GRANTING)
    assert await place.login() == "new-token"
    assert len(second.requests) == 1


async def test_each_address_is_tried_once_in_an_attempt(place: Place) -> None:
    """An endpoint that is down must not be flooded with connections."""
    authority_free = Endpoint(f"https://{HOST}:{place.port}")
    peers = [await place.add(address, hang_up_at_once) for address in (SICK, GOOD, THIRD)]
    assert (await place.login(endpoint=authority_free)) == (
        f"connect: cannot connect to {HOST}:{place.port}: Connection reset by peer"
    )
    assert [peer.connections for peer in peers] == [1, 1, 1]


async def hang_up_at_once(connection: Connection) -> None:
    """Close the connection before anything is sent."""


async def test_different_causes_are_listed_with_their_addresses(place: Place) -> None:
    """An operator has to know which of them to look at."""
    place.names.addresses = (SICK,)
    await place.add(GOOD, mute)
    message = await place.login(0.5, Endpoint(f"https://{HOST}:{place.port}"))
    assert message.startswith(
        f"timeout: cannot connect to {HOST}:{place.port}: {SICK}: Connection refused; "
        f"{GOOD}: no answer within "
    )


@pytest.mark.timing
async def test_a_silent_handshake_takes_only_a_share_of_the_attempt(
    place: Place, tmp_path: Path
) -> None:
    """Nothing has been sent, so the attempt itself goes on at the other address."""
    authority = Authority(tmp_path)
    first = await place.add(SICK, mute)
    endpoint = Endpoint(f"https://{HOST}:{place.port}", authority.ca_file)
    place.names.addresses += (GOOD,)
    loop = asyncio.get_running_loop()
    async with serving(GRANTING, authority.server(HOST), GOOD, place.port):
        began = loop.time()
        assert await place.login(2.0, endpoint) == "new-token"
        assert 0.9 < loop.time() - began < 1.9
        assert await place.login(2.0, endpoint) == "new-token"
    assert first.connections == 1


async def test_a_bad_certificate_at_one_address_is_avoided(place: Place, tmp_path: Path) -> None:
    """One node whose certificate was not renewed does not end the service."""
    authority = Authority(tmp_path)
    place.names.addresses = (SICK, GOOD)
    endpoint = Endpoint(f"https://{HOST}:{place.port}", authority.ca_file)
    async with (
        serving(GRANTING, authority.server(HOST, days=-1), SICK, place.port) as expired,
        serving(GRANTING, authority.server(HOST), GOOD, place.port) as good,
    ):
        assert await place.login(5, endpoint) == "new-token"
        assert (expired.requests, len(good.requests)) == ([], 1)


@pytest.mark.parametrize(("sick", "good"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
async def test_both_address_families_stand_in_for_each_other(
    place: Place, sick: str, good: str
) -> None:
    """One of the two is often broken somewhere on the way."""
    try:
        first = await place.add(sick, silent)
        await place.add(good, GRANTING)
    except OSError:
        pytest.skip("this host has no IPv6 on loopback")
    assert (await place.login(0.4)).startswith("timeout: no answer within 0.2")
    assert await place.login() == "new-token"
    assert len(first.requests) == 1


@pytest.mark.parametrize("sick", [mute, answering(reply(502)), hang_up_at_once, hang_up])
async def test_a_tunnel_is_made_through_a_proxys_other_address(
    place: Place, tmp_path: Path, sick: Callable[[Connection], Awaitable[None]]
) -> None:
    """Without a tunnel nothing has reached DSM, so all of this happens within one attempt."""
    authority = Authority(tmp_path)
    async with serving(GRANTING, authority.server("hsm.example")) as dsm:
        first = await place.add(SICK, sick)
        second = await place.add(GOOD, Tunnel(dsm.port))
        proxy = f"http://{HOST}:{place.port}"
        endpoint = Endpoint("https://hsm.example", authority.ca_file, proxy=proxy)
        assert await place.login(2.0, endpoint) == "new-token"
        assert await place.login(2.0, endpoint) == "new-token"
        assert (first.connections, second.connections, len(dsm.requests)) == (1, 1, 2)


@pytest.mark.parametrize("status", [403, 407])
async def test_what_a_proxy_forbids_is_not_asked_at_its_other_addresses(
    place: Place, status: int
) -> None:
    """A wrong password that is sent to each of them locks the account sooner."""
    peers = [await place.add(address, answering(reply(status))) for address in (SICK, GOOD)]
    endpoint = Endpoint("https://hsm.example", proxy=f"http://{HOST}:{place.port}")
    message = f"connect: the proxy answered {status} to CONNECT"
    for _ in range(2):
        assert await place.login(2.0, endpoint) == message
    assert [peer.connections for peer in peers] == [2, 0]


async def test_a_plain_request_goes_through_a_proxys_other_address(place: Place) -> None:
    """The proxy answers for DSM here, so its addresses are the ones to choose from."""
    first, second = await place.add(SICK, answering(reply(502))), await place.add(GOOD, GRANTING)
    endpoint = Endpoint("http://localhost:9", proxy=f"http://{HOST}:{place.port}")
    assert (await place.login(2.0, endpoint)).startswith("server_error: 502")
    assert await place.login(2.0, endpoint) == "new-token"
    assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_throttling_is_no_reason_to_go_elsewhere(place: Place) -> None:
    """DSM as a whole asks for patience; the same request at another address would ignore that."""
    first, second = await place.add(SICK, answering(reply(429))), await place.add(GOOD, GRANTING)
    for _ in range(2):
        assert (await place.login()).startswith("throttled")
    assert (len(first.requests), len(second.requests)) == (2, 0)


async def test_an_address_that_asks_for_a_wait_delays_no_other(place: Place) -> None:
    """An app without a token would wait for minutes, although DSM answers at another address."""
    busy = answering(reply(503, b"", "Retry-After: 120"))
    for address in (SICK, GOOD):
        await place.add(address, busy)
    client = place.connections.client(App("payments", place.endpoint, ApiKeyEnv("KEY")))
    waits = []
    for _ in range(2):
        with pytest.raises(Retryable) as refused:
            await client.login(Secret(API_KEY), 5)
        waits.append(refused.value.retry_after)
    assert waits == [None, 120.0], "once all addresses have failed, DSM is obeyed"


async def test_concurrent_requests_share_a_look_up(place: Place) -> None:
    """After a resume all apps of an endpoint connect at once, and name servers may be slow."""
    await place.add(SICK, GRANTING)
    app = App("certified", place.endpoint, Certificate("x", Path("a"), Path("b")))
    client = place.connections.client(app)
    await asyncio.gather(
        *(place.login() for _ in range(8)), client.login(Secret(API_KEY), 5), place.login()
    )
    assert place.names.look_ups == 1
