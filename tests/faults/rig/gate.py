"""A loopback server in front of the emulator that misbehaves on request."""

import asyncio
import re
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)

RESET = struct.pack("ii", 1, 0)
"""With a linger of 0 s, close() sends RST instead of FIN (socket(7))."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response as it goes over the wire."""

    head: bytes
    body: bytes

    @property
    def whole(self) -> bytes:
        """Head and body."""
        return self.head + self.body


@dataclass(slots=True, eq=False)
class Exchange:
    """A client's connection and its last request; `forward` gets DSM's own answer."""

    gate: "Gate"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes = b""
    body: bytes = b""
    _ahead: bytes = b""
    _dsm: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def path(self) -> str:
        """The request's path."""
        return self.head.split(b" ", 2)[1].decode()

    async def request(self) -> None:
        """Wait for the next request. Raises EOFError and OSError at the connection's end."""
        self.head, self._ahead = self._ahead or await self.reader.readuntil(b"\r\n\r\n"), b""
        length = LENGTH.search(self.head)
        self.body = await self.reader.readexactly(int(length[1]) if length else 0)

    async def idle_for(self, seconds: float) -> bool:
        """Return whether no request arrives for `seconds`. One that does is kept for `request`."""
        try:
            async with asyncio.timeout(seconds):
                self._ahead = await self.reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return True
        return False

    def mark_lost(self) -> None:
        """Note that the client will never learn of a session that DSM has opened."""
        self.gate.lost.append(time.monotonic())

    async def forward(self) -> Reply:
        """Pass the request on to DSM, and return its answer."""
        if self._dsm is None:
            self._dsm = await asyncio.open_connection("127.0.0.1", self.gate.dsm_port)
        reader, writer = self._dsm
        writer.write(self.head + self.body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        return Reply(head, await reader.readexactly(int(length[1]) if length else 0))

    async def send(self, data: bytes) -> None:
        """Send bytes to the client."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Reset the connection."""
        found: socket.socket = self.writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()

    async def stall(self) -> None:
        """Send nothing more, and close once the client gives up."""
        while await self.reader.read(1024):
            pass
        self.close()

    def close(self) -> None:
        """Close the connection and the one to DSM."""
        self.writer.transport.abort()
        if self._dsm is not None:
            self._dsm[1].transport.abort()


Behaviour = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A misbehaviour for each connection as it is accepted, or for each request."""

    on_accept: Behaviour | None = None
    on_request: Behaviour | None = None


@dataclass(slots=True)
class Gate:
    """Passes requests on to DSM, or misbehaves as `trouble` says. Instants are monotonic."""

    dsm_port: int
    port: int
    tls: ssl.SSLContext | None = None
    name: str = "127.0.0.1"
    address: str = "127.0.0.1"
    trouble: Trouble = Trouble()
    arrivals: list[float] = field(default_factory=list)
    """When each request came, and each connection that got no further."""
    refusals: list[float] = field(default_factory=list)
    """When the gate itself refused a login."""
    lost: list[float] = field(default_factory=list)
    """When a session was opened of which the client never learns."""
    _server: asyncio.Server | None = None
    _open: set[Exchange] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The endpoint to give to the daemon."""
        return f"{'http' if self.tls is None else 'https'}://{self.name}:{self.port}"

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(
            self._handle, self.address, self.port, ssl=self.tls, backlog=64
        )

    def close(self) -> None:
        """Refuse new connections, and reset the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset all open connections."""
        for exchange in tuple(self._open):
            exchange.reset()

    @contextmanager
    def troubled(self, trouble: Trouble) -> Iterator[None]:
        """Misbehave like this until the block ends."""
        self.trouble = trouble
        if trouble.on_accept is not None:
            self.cut()
        try:
            yield
        finally:
            self.trouble = Trouble()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(self, reader, writer)
        self._open.add(exchange)
        try:
            with suppress(EOFError, OSError):
                await self._serve(exchange)
        finally:
            self._open.discard(exchange)
            exchange.close()

    async def _serve(self, exchange: Exchange) -> None:
        if self.trouble.on_accept is not None:
            self.arrivals.append(time.monotonic())
            await self.trouble.on_accept(exchange)
            return
        while not exchange.writer.is_closing():
            await exchange.request()
            if not exchange.path.endswith("/terminate"):
                self.arrivals.append(time.monotonic())
            await (self.trouble.on_request or passed_on)(exchange)


async def passed_on(exchange: Exchange) -> None:
    """Let DSM answer."""
    await exchange.send((await exchange.forward()).whole)
