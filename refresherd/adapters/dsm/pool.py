"""The connections to one endpoint, and when they are replaced.

All connections of a pool are dropped at once when a file of its TLS context changed; when the
machine was suspended, since the other end and any NAT on the way have silently forgotten them; and
when one of them turned out to be stale.
"""

import asyncio
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from refresherd import __version__
from refresherd.adapters.dsm.addresses import Addresses
from refresherd.adapters.dsm.attempt import ATTEMPT, Attempt, Resolver
from refresherd.adapters.dsm.content_codings import (
    ACCEPTED,
    LONGEST_ANSWER,
    decoded,
    too_long,
)
from refresherd.adapters.dsm.network_errors import LONGEST_FIELD, MOST_FIELDS
from refresherd.adapters.dsm.routes import Route, proxy_for
from refresherd.adapters.dsm.tls import TlsContext
from refresherd.domain.errors import Reason, Retryable
from refresherd.engine.ports import Clock

Answer: TypeAlias = tuple[int, Mapping[str, str], bytes]

SUSPEND_SECONDS = 1.0
"""asyncio's clock stops during a suspend, so a lag of this much behind boot time means one."""

IDLE_SECONDS = 15.0
"""An idle connection is closed after this long: an open TLS connection costs 80 KiB."""

LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)
"""The connection ended before an answer came."""

HEADERS = {
    hdrs.ACCEPT: "application/json",
    # aiohttp would send application/octet-stream.
    hdrs.CONTENT_TYPE: "application/json",
    hdrs.ACCEPT_ENCODING: ACCEPTED,
    hdrs.USER_AGENT: f"refresherd/{__version__}",
}

# asyncio keeps a buffer of 256 KiB for each TLS connection, and allocates as much again for
# each read. DSM's answers are under 1 KiB, and no TLS record exceeds 16 KiB (RFC 8446, 5.1).
SSLProtocol.max_size = 16 * 1024


@dataclass(slots=True)
class PooledSession:
    """An aiohttp session with its connections."""

    session: aiohttp.ClientSession
    context: ssl.SSLContext | None
    addresses: Addresses
    """Of DSM, or of the proxy."""
    suspended: float
    """Seconds by which asyncio's clock was behind boot time when the session was opened."""
    requests: int = 0
    """How many requests are under way."""


class ConnectionPool:
    """The connections of one route, opened when needed.

    `context` is None for an http:// endpoint, which is on loopback. `addresses` returns those of
    a host and port.
    """

    def __init__(
        self,
        route: Route,
        context: TlsContext | None,
        addresses: Callable[[str, int], Addresses],
        clock: Clock,
    ) -> None:
        self._route = route
        self._context = context
        self._addresses = addresses
        self._clock = clock
        self._session: PooledSession | None = None
        self._closed = False

    async def post(
        self, attempt: Attempt, url: URL, headers: Mapping[str, str], data: bytes | None = None
    ) -> Answer:
        """Send a POST, with `data` as its body; return its answer's status, headers and body.

        Raises Retryable. Where no connection comes about, the host's next address is tried.

        A server may close an idle connection just as a request is sent on it. aiohttp repeats
        such a request for idempotent methods only. Ours are safe to repeat, so the request is
        sent once more, on a new connection.
        """
        ATTEMPT.set(attempt)
        may_be_stale = True
        while True:
            session = None
            try:
                async with attempt.begin():
                    session = await self._current()
                    attempt.addresses = session.addresses
                    return await self._send(session, url, headers, data)
            except (aiohttp.ClientError, OSError) as error:
                stale = may_be_stale and session is not None and _is_stale(attempt, error)
                fault = None if stale else attempt.failed(error)
            # Raised outside the except block: aiohttp's error holds the request's headers, and
            # would become this one's context.
            if fault is not None:
                raise fault
            if stale and session is not None:
                may_be_stale = False
                await self._drop(session)

    def expire_files(self) -> None:
        """Make the next request read changed files of CAs and certificates."""
        if self._context is not None:
            self._context.expire()

    def cause_of_failures(self) -> str:
        """Return what on this host probably makes attempts fail, "" if nothing is known."""
        return "" if self._context is None else self._context.cause_of_failures()

    async def aclose(self) -> None:
        """Close all connections for good; requests under way on them fail."""
        self._closed = True
        if self._session is not None:
            await self._session.session.close()

    async def _send(
        self, pooled: PooledSession, url: URL, headers: Mapping[str, str], data: bytes | None
    ) -> Answer:
        pooled.requests += 1
        try:
            async with pooled.session.post(
                url, headers=headers, data=data, allow_redirects=False
            ) as response:
                return response.status, response.headers, await _body(response)
        finally:
            pooled.requests -= 1
            await self._close_if_unused(pooled)

    async def _current(self) -> PooledSession:
        context = None if self._context is None else await self._context.current()
        if self._closed:
            raise Retryable(Reason.CONNECT, "refresherd is stopping and has closed its connections")
        suspended = self._clock.now() - asyncio.get_running_loop().time()
        pooled = self._session
        if pooled is not None:
            if pooled.context is context and suspended - pooled.suspended < SUSPEND_SECONDS:
                return pooled
            await self._drop(pooled)
        if self._session is None:
            proxy = proxy_for(self._route.endpoint, self._route.proxy)
            session = _open_session(self._route, context, proxy)
            peer = proxy or self._route.endpoint
            addresses = self._addresses(peer.raw_host or "", peer.port or 0)
            self._session = PooledSession(session, context, addresses, suspended)
        return self._session

    async def _drop(self, pooled: PooledSession) -> None:
        """Send no further request on this session; the ones under way are finished."""
        if self._session is pooled:
            self._session = None
        await self._close_if_unused(pooled)

    async def _close_if_unused(self, pooled: PooledSession) -> None:
        if self._session is not pooled and pooled.requests == 0:
            await pooled.session.close()


class Connector(aiohttp.TCPConnector):
    """Discards pooled connections that the attempt does not accept.

    For instance those on which unrequested bytes arrived: aiohttp would take them for the answer
    to the next request, which may be another app's.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection from the pool, or a new one."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if ATTEMPT.get().accept(connection):
                return connection
            connection.close()


def _open_session(
    route: Route, context: ssl.SSLContext | None, proxy: URL | None
) -> aiohttp.ClientSession:
    """Return a session without cookies, `.netrc` or a timeout of its own."""
    connector = Connector(
        # Twice: terminations run alongside attempts, and neither waits for a connection.
        limit=2 * route.max_in_flight,
        keepalive_timeout=IDLE_SECONDS,
        use_dns_cache=False,
        resolver=Resolver(),
        socket_factory=_new_socket,
        # True is aiohttp's default; it has no effect on an http:// endpoint.
        ssl=True if context is None else context,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
        proxy=proxy,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        max_line_size=LONGEST_FIELD,
        max_field_size=LONGEST_FIELD,
        max_headers=MOST_FIELDS,
        trust_env=False,
    )


def _is_stale(attempt: Attempt, error: Exception) -> bool:
    """Return whether a pooled connection had ended before the request reached the server."""
    is_new = attempt.is_new or isinstance(error, aiohttp.ClientConnectorError)
    return isinstance(error, LOST) and not is_new


def _new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    ATTEMPT.get().is_new = True
    return socket.socket(*address[:3])


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return a body without its content codings. Raises Retryable.

    It is read in pieces, so that an endless one does not fill the memory.
    """
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LONGEST_ANSWER:
            raise too_long()
    codings = response.headers.getall(hdrs.CONTENT_ENCODING, ())
    if not codings:
        return bytes(body)
    try:
        return decoded(bytes(body), ",".join(codings))
    except Retryable:
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise
        return b""  # the status says more
