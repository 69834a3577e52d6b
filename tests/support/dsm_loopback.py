"""Loopback servers with a given behaviour, and certificates for them.

A server's behaviour is a coroutine function that is called with each connection:

    async with serving(answering(reply(200, GRANT)), tls=authority.server()) as peer:
        ...
        assert peer.connections == 1
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6, SOCK_STREAM
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import ENTITY_ID

GRANT = json.dumps(
    {
        "token_type": "Bearer",
        "expires_in": 600,
        "access_token": "new-token",
        "entity_id": ENTITY_ID,
        "allowed_mfa_methods": [],
    }
).encode()


@dataclass(slots=True)
class Connection:
    """A connection as its server sees it."""

    peer: "Peer"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """Return the next request's head and record it in the peer. Raises EOFError at the end."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.peer.requests.append(head)
        return head

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()


@dataclass(slots=True)
class Peer:
    """A running server: its address, and what clients sent to it."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    certificates: list[object] = field(default_factory=list)
    """Of the clients, as `getpeercert` returns them."""

    @property
    def https(self) -> str:
        """The server's address over TLS."""
        return f"https://localhost:{self.port}"

    @property
    def http(self) -> str:
        """The server's address without TLS."""
        return f"http://127.0.0.1:{self.port}"


Behaviour = Callable[[Connection], Awaitable[None]]


@asynccontextmanager
async def serving(
    behave: Behaviour,
    tls: ssl.SSLContext | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Peer]:
    """Serve on loopback, with a task for each connection; all end with the context."""
    peer = Peer()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        peer.certificates.append(writer.get_extra_info("peercert"))
        try:
            with suppress(EOFError, OSError):
                await behave(Connection(peer, reader, writer))
        finally:
            writer.transport.abort()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(start, address, port, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*replies: bytes) -> Behaviour:
    """Answer each request of a connection with the next reply, and later ones with the last."""

    async def behave(connection: Connection) -> None:
        for reply_ in replies:
            await connection.request()
            await connection.send(reply_)
        while True:
            await connection.request()
            await connection.send(replies[-1])

    return behave


def reply(status: int, body: bytes = b"", *headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Tunnel:
    """A CONNECT proxy that connects to one port on loopback, whatever the host."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __call__(self, connection: Connection) -> None:
        """Accept CONNECT, then pass bytes on in both directions."""
        await connection.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(
                _pass_on(connection.reader, writer), _pass_on(reader, connection.writer)
            )
        finally:
            writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof() if writer.can_write_eof() else writer.close()


class Names(KeyedExecutor):
    """An executor that answers look-ups of one name itself."""

    def __init__(self, name: str, *addresses: str) -> None:
        super().__init__()
        self._name = name
        self.addresses = addresses
        self.look_ups = 0

    async def call(self, key: Hashable, run: Callable[[], Any]) -> Any:  # noqa: ANN401  # as the executor
        """Resolve the name, or run any other call as usual."""
        if key != ("resolve", self._name):
            return await super().call(key, run)
        self.look_ups += 1
        return [
            (AF_INET6 if ":" in address else AF_INET, SOCK_STREAM, 6, "", (address, 0))
            for address in self.addresses
        ]


class Authority:
    """A CA in a directory of its own."""

    def __init__(self, directory: Path, name: str = "Test CA") -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issued = 0
        ca = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(ca.public_bytes(Encoding.PEM))

    def issue(self, host: str = "localhost", days: int = 1) -> tuple[Path, Path]:
        """Return the files of a certificate and its key; with negative `days` it has expired."""
        self._issued += 1
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host), _address("127.0.0.1")])
        if host != "localhost":
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
        certificate = self._sign(name, key, names, days=days)
        cert_file = self._directory / f"{self._issued}.pem"
        key_file = self._directory / f"{self._issued}.key"
        cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return cert_file, key_file

    def server(
        self, host: str = "localhost", days: int = 1, *, wants_certificate: bool = False
    ) -> ssl.SSLContext:
        """Return a server's TLS context with a certificate for `host`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(host, days))
        if wants_certificate:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extension: x509.ExtensionType,
        days: int = 1,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


def _address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ip_address(text))
