"""The connections to one endpoint, and when they are replaced.

All connections of a pool are dropped at once when a file of its TLS context changed; when the
machine was suspended, since the other end and any NAT on the way have silently forgotten them; and
when one of them turned out to be stale.
"""

import asyncio
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from refresherd import __version__
from refresherd.adapters.dsm.routes import Route, proxy_for
from refresherd.adapters.dsm.tls import TlsContext
from refresherd.domain.errors import Reason, Retryable
from refresherd.engine.ports import Clock

Answer: TypeAlias = tuple[int, Mapping[str, str], bytes]

LONGEST_ANSWER = 1024 * 1024
"""In bytes, decompressed. DSM's answers are under 1 KiB."""

SUSPEND_SECONDS = 1.0
"""asyncio's clock stops during a suspend, so a lag of this much behind boot time means one."""

IDLE_SECONDS = 15.0
"""An idle connection is closed after this long: an open TLS connection costs 80 KiB."""

RESOLVED_SECONDS = 1
"""How long a resolved address is reused: long enough for a burst of connections. aiohttp's
default of 10 s would stick to a dead address for as long as a short outage budget lasts."""

LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)
"""The connection ended before an answer came."""

HEADERS = {
    hdrs.ACCEPT: "application/json",
    # aiohttp would send application/octet-stream.
    hdrs.CONTENT_TYPE: "application/json",
    hdrs.USER_AGENT: f"refresherd/{__version__}",
}

# asyncio keeps a buffer of 256 KiB for each TLS connection, and allocates as much again for
# each read. DSM's answers are under 1 KiB, and no TLS record exceeds 16 KiB (RFC 8446, 5.1).
SSLProtocol.max_size = 16 * 1024


@dataclass(slots=True)
class ConnectionUse:
    """Whether a request opened a connection; if not, it went out on one from the pool."""

    is_new: bool = False


CONNECTION_USE: ContextVar[ConnectionUse] = ContextVar("refresherd_dsm_connection_use")
"""The current request's. aiohttp reports a reused connection by tracing only, at 15 % more CPU."""


@dataclass(slots=True)
class PooledSession:
    """An aiohttp session with its connections."""

    session: aiohttp.ClientSession
    context: ssl.SSLContext | None
    suspended: float
    """Seconds by which asyncio's clock was behind boot time when the session was opened."""
    requests: int = 0
    """How many requests are under way."""


class ConnectionPool:
    """The connections of one route, opened when needed.

    `context` is None for an http:// endpoint, which is on loopback.
    """

    def __init__(
        self, route: Route, context: TlsContext | None, resolver: AbstractResolver, clock: Clock
    ) -> None:
        self._route = route
        self._context = context
        self._resolver = resolver
        self._clock = clock
        self._session: PooledSession | None = None
        self._closed = False

    async def post(self, url: URL, headers: Mapping[str, str], data: bytes | None = None) -> Answer:
        """Send a POST, with `data` as its body; return its answer's status, headers and body.

        Raises Retryable, aiohttp's ClientError and OSError.

        A server may close an idle connection just as a request is sent on it. aiohttp repeats
        such a request for idempotent methods only. Ours are safe to repeat, so the request is
        sent once more, on a new connection.
        """
        session = await self._current()
        try:
            return await self._send(session, url, headers, data)
        except LOST as error:
            if CONNECTION_USE.get().is_new or isinstance(error, aiohttp.ClientConnectorError):
                raise
        await self._drop(session)
        return await self._send(await self._current(), url, headers, data)

    async def aclose(self) -> None:
        """Close all connections for good; requests under way on them fail."""
        self._closed = True
        if self._session is not None:
            await self._session.session.close()

    async def _send(
        self, pooled: PooledSession, url: URL, headers: Mapping[str, str], data: bytes | None
    ) -> Answer:
        CONNECTION_USE.set(ConnectionUse())
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
            session = _open_session(self._route, context, self._resolver)
            self._session = PooledSession(session, context, suspended)
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
    """Discards pooled connections on which unrequested bytes arrived.

    aiohttp would take them for the answer to the next request, which may be another app's.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection from the pool, or a new one."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if CONNECTION_USE.get().is_new or protocol is None or not protocol.should_close:
                return connection
            connection.close()


def _open_session(
    route: Route, context: ssl.SSLContext | None, resolver: AbstractResolver
) -> aiohttp.ClientSession:
    """Return a session without cookies, `.netrc` or a timeout of its own. Raises Retryable."""
    proxy = proxy_for(route.endpoint, route.proxy)
    connector = Connector(
        # Twice: terminations run alongside attempts, and neither waits for a connection.
        limit=2 * route.max_in_flight,
        keepalive_timeout=IDLE_SECONDS,
        ttl_dns_cache=RESOLVED_SECONDS,
        resolver=resolver,
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
        trust_env=False,
    )


def _new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    CONNECTION_USE.get().is_new = True
    return socket.socket(*address[:3])


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Read a body in pieces, so that a decompression bomb does not fill the memory."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LONGEST_ANSWER:
            message = f"the answer is longer than {LONGEST_ANSWER} bytes, so it is not from DSM"
            raise Retryable(Reason.BAD_RESPONSE, message)
    return bytes(body)
