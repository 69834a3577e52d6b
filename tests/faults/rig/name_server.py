"""A name server for the suite, which answers from a table and may stay silent."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

RESOLV_CONF = "nameserver {}\noptions timeout:1 attempts:1\n"
NSSWITCH_CONF = "passwd: files\ngroup: files\nhosts: files dns\n"

A, AAAA, IN = 1, 28, 1


class Silence(Enum):
    """What a name server answers instead of an address: a response code of RFC 1035, or nothing."""

    SERVFAIL = 2
    NXDOMAIN = 3
    NOTHING = -1


@dataclass(slots=True)
class NameServer(asyncio.DatagramProtocol):
    """Serves the names in `zone` on UDP port 53, which needs root.

    All of 127/8 is this host (RFC 1122, 3.2.1.3), so suites that run at once use an address each.
    """

    address: str = ""
    zone: dict[str, tuple[str, ...] | Silence] = field(default_factory=dict)
    _transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        """Listen. Raises OSError if no address is free."""
        loop = asyncio.get_running_loop()
        for number in range(1, 255):
            self.address = f"127.53.{number}.1"
            with suppress(OSError):
                self._transport, _ = await loop.create_datagram_endpoint(
                    lambda: self, local_addr=(self.address, 53)
                )
                return
        raise OSError(f"no address for a name server; the last tried was {self.address}")

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do nothing: `open` keeps the transport."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question."""
        name, kind, end = question(data)
        known = self.zone.get(name, Silence.NXDOMAIN)
        if known is not Silence.NOTHING and self._transport is not None:
            self._transport.sendto(answer(data, end, kind, known), addr)


def question(data: bytes) -> tuple[str, int, int]:
    """Return the name, the type and the end of the question (RFC 1035, 4.1.2)."""
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", data, at + 1)
    return ".".join(labels), kind, at + 5


def answer(data: bytes, end: int, kind: int, known: tuple[str, ...] | Silence) -> bytes:
    """Return the answer to a question: addresses of that kind with a TTL of 0, or an error."""
    code = known.value if isinstance(known, Silence) else 0
    addresses = () if isinstance(known, Silence) else known
    family = {A: socket.AF_INET, AAAA: socket.AF_INET6}.get(kind)
    found = [
        socket.inet_pton(family, address)
        for address in addresses
        if family == (socket.AF_INET6 if ":" in address else socket.AF_INET)
    ]
    head = data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
    records = (
        struct.pack("!HHHIH", 0xC00C, kind, IN, 0, len(address)) + address for address in found
    )
    return head + data[12:end] + b"".join(records)


def namespace(directory: Path, server: NameServer) -> tuple[str, ...]:
    """Return a command that starts another with only this name server, in a mount namespace."""
    (directory / "resolv.conf").write_text(RESOLV_CONF.format(server.address))
    (directory / "nsswitch.conf").write_text(NSSWITCH_CONF)
    script = "for f in resolv nsswitch; do mount --bind $0/$f.conf /etc/$f.conf; done; exec $@"
    return ("unshare", "--mount", "sh", "-ec", script, str(directory))
