"""Pooled connections to one endpoint, and what makes them be dropped.

They are dropped, all at once, when the files of their trust changed, when the machine
slept (the other end forgot them meanwhile, and nobody says so), and when one of them
turned out to be stale.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import (
    ClientConnectionResetError,
    ClientConnectorError,
    ClientOSError,
    ClientResponse,
    ClientSession,
    ServerDisconnectedError,
)
from aiohttp.abc import AbstractResolver
from yarl import URL

from refresherd.adapters.dsm.answers import Answer
from refresherd.adapters.dsm.proxies import proxy_for
from refresherd.adapters.dsm.session import DIAL, Dial, open_session
from refresherd.adapters.dsm.trust import Context, Trust
from refresherd.domain.errors import Reason, Retryable
from refresherd.engine.ports import Clock

LONGEST_ANSWER = 1024 * 1024
"""Bytes, unpacked. DSM's are under 1 KiB."""

SLEPT_SECONDS = 1.0
"""asyncio's clock stands still in a suspend: falling back this far behind boot time shows one."""

LOST = (ServerDisconnectedError, ClientOSError, ClientConnectionResetError)
"""The connection ended before there was an answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """What apps must agree in to share connections."""

    endpoint: URL
    proxy: str = field(repr=False)
    max_in_flight: int
    trust: Trust


@dataclass(slots=True)
class Pool:
    """A session with its connections, and how many requests are under way on it."""

    session: ClientSession
    context: ssl.SSLContext | None
    asleep: float
    """How far asyncio's clock was behind boot time, in seconds."""
    users: int = 0


class Link:
    """The connections of one route, opened when they are needed.

    `context` is None where the endpoint speaks plain HTTP, on loopback.
    """

    def __init__(
        self, route: Route, context: Context | None, resolver: AbstractResolver, clock: Clock
    ) -> None:
        self._route = route
        self._context = context
        self._resolver = resolver
        self._clock = clock
        self._pool: Pool | None = None
        self._closed = False

    async def post(self, url: URL, headers: Mapping[str, str]) -> Answer:
        """Send a POST without a body. Raises Retryable, and aiohttp's errors and OSError.

        A server may close an idle connection just when a request is on its way to it. aiohttp
        sends such a request again for idempotent methods only, but ours are as harmless to
        repeat, so it gets a second chance: on a connection that is surely alive.
        """
        pool = await self._current()
        dial = Dial()
        try:
            return await self._send(pool, url, headers, dial)
        except LOST as error:
            if dial.made or isinstance(error, ClientConnectorError):
                raise
        await self._drop(pool)
        return await self._send(await self._current(), url, headers, Dial())

    async def aclose(self) -> None:
        """Close all connections; requests under way on them fail."""
        self._closed = True
        if self._pool is not None:
            await self._pool.session.close()

    async def _send(self, pool: Pool, url: URL, headers: Mapping[str, str], dial: Dial) -> Answer:
        DIAL.set(dial)
        pool.users += 1
        try:
            async with pool.session.post(url, headers=headers, allow_redirects=False) as response:
                return Answer(response.status, response.headers, await _body(response))
        finally:
            pool.users -= 1
            await self._close_if_done(pool)

    async def _current(self) -> Pool:
        context = None if self._context is None else await self._context.current()
        if self._closed:
            raise Retryable(Reason.CONNECT, "the connections are closed for good")
        asleep = self._clock.now() - asyncio.get_running_loop().time()
        pool = self._pool
        if pool is not None:
            if pool.context is context and asleep - pool.asleep < SLEPT_SECONDS:
                return pool
            await self._drop(pool)
        if self._pool is None:
            self._pool = self._open(context, asleep)
        return self._pool

    def _open(self, context: ssl.SSLContext | None, asleep: float) -> Pool:
        proxy = proxy_for(self._route.endpoint, self._route.proxy)
        session = open_session(self._route.max_in_flight, proxy, context, self._resolver)
        return Pool(session, context, asleep)

    async def _drop(self, pool: Pool) -> None:
        """Let no further request use this pool; those under way end in peace."""
        if self._pool is pool:
            self._pool = None
        await self._close_if_done(pool)

    async def _close_if_done(self, pool: Pool) -> None:
        if self._pool is not pool and pool.users == 0:
            await pool.session.close()


async def _body(response: ClientResponse) -> bytes:
    """Read an answer piece by piece, so that no bomb unpacks in memory."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LONGEST_ANSWER:
            raise Retryable(Reason.BAD_RESPONSE, f"the answer is over {LONGEST_ANSWER} bytes")
    return bytes(body)
