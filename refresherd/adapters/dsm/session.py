"""An aiohttp session as DSM wants it, and whether a request had to open a connection."""

import socket
import ssl
from asyncio.sslproto import SSLProtocol
from contextvars import ContextVar
from dataclasses import dataclass

from aiohttp import (
    AddrInfoType,
    ClientRequest,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    hdrs,
)
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from refresherd import __version__

IDLE_SECONDS = 15.0
"""An idle connection is closed after this long: an open TLS connection costs 80 KiB."""

RESOLVED_SECONDS = 1
"""An address is looked up anew after this long, enough for a burst of connections to share it:
aiohttp's own 10 s would hold on to one that is dead for as long as a short outage budget."""

# asyncio would keep a buffer of 256 KiB for each TLS connection, and take as much again for
# each read. DSM's answers are under 1 KiB, and no TLS record is over 16 (RFC 8446, 5.1).
SSLProtocol.max_size = 16 * 1024

HEADERS = {
    hdrs.ACCEPT: "application/json",
    # Or aiohttp would say application/octet-stream.
    hdrs.CONTENT_TYPE: "application/json",
    hdrs.USER_AGENT: f"refresherd/{__version__}",
}


@dataclass(slots=True)
class Dial:
    """Whether a request opened a connection; if not, it was sent on one from the pool."""

    made: bool = False


DIAL: ContextVar[Dial] = ContextVar("refresherd_dsm_dial")
"""The current request's. aiohttp tells of a reused connection only by tracing, at 15 % more CPU."""


class Connector(TCPConnector):
    """Reuses no connection on which something came that nobody asked for.

    aiohttp would take it for the answer to the next request, which may be another app's.
    """

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> Connection:
        """Return a connection from the pool, or a new one."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if DIAL.get().made or protocol is None or not protocol.should_close:
                return connection
            connection.close()


def open_session(
    max_in_flight: int,
    proxy: URL | None,
    context: ssl.SSLContext | None,
    resolver: AbstractResolver,
) -> ClientSession:
    """Return a session without cookies, `.netrc`, or a timeout of its own."""
    connector = Connector(
        # Terminations go on beside the attempts, and neither is to wait for a connection.
        limit=2 * max_in_flight,
        keepalive_timeout=IDLE_SECONDS,
        ttl_dns_cache=RESOLVED_SECONDS,
        resolver=resolver,
        socket_factory=_dialled,
        # True is for http://, where nothing is verified because nothing is encrypted.
        ssl=True if context is None else context,
    )
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        headers=HEADERS,
        proxy=proxy,
        timeout=ClientTimeout(total=None, sock_connect=None),
        trust_env=False,
    )


def _dialled(address: AddrInfoType) -> socket.socket:
    DIAL.get().made = True
    family, kind, proto, _, _ = address
    return socket.socket(family=family, type=kind, proto=proto)
