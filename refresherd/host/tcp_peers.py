"""Whose the other end of a TCP connection from this host is, as the kernel knows it: sock_diag(7).

The kernel looks the client's socket up by its two addresses and ports. It finds those of this
network namespace only, so the owner of any other client is unknown.
"""

import socket
import struct
from contextlib import suppress
from itertools import count
from typing import NamedTuple

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1

HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence number and port: struct nlmsghdr of netlink(7)."""

REQUEST = struct.Struct("=BBBxI")
"""Family, protocol, extensions and states: struct inet_diag_req_v2, which ends with an ENDS."""

ENDS = struct.Struct("!HH16s16s12s")
"""Ports, addresses, and interface with cookie: struct inet_diag_sockid. The first is its own."""

FOUND_HEAD = struct.Struct("=BBxx")
"""Family and state: how struct inet_diag_msg begins, before its ENDS."""

FOUND_TAIL = struct.Struct("=12xII")
"""Its owner and its inode."""

ANY_SOCKET = bytes(4) + b"\xff" * 8
"""On any interface, with any cookie."""

ALL_STATES = 0xFFFFFFFF
ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT = 1, 4, 5, 8

HELD_STATES = frozenset((ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT))
"""States of a connected socket that a process may hold, with its sending end closed or open."""

OUR_STATES = frozenset((ESTABLISHED, CLOSE_WAIT))
"""States of our end while no other connection can have the same addresses and ports."""

MAX_REPLY = 8192


class End(NamedTuple):
    """An end of a connection: an IPv4 address has 4 bytes, even if IPv6 maps it."""

    address: bytes
    port: int


class TcpPeers:
    """Tells the owners of clients; it belongs to one thread. It keeps one netlink socket open."""

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None
        self._numbers = count(1)

    def owner(self, connection: socket.SocketType) -> int | None:
        """Return the uid of the process that opened the client's end of an accepted connection.

        None if the client is on another host or in another network namespace, has closed its end,
        or if the kernel does not tell. It never blocks.
        """
        try:
            ours, theirs = end(connection.getsockname()), end(connection.getpeername())
            uid = self._ask(theirs, ours)
            # Had the client's end gone, another user's socket could have taken its place.
            state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except OSError:
            return None
        return uid if state in OUR_STATES else None

    def close(self) -> None:
        """Close the netlink socket; the next question opens another."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _ask(self, theirs: End, ours: End) -> int | None:
        """Return the owner of the socket whose own end is `theirs`. Raises OSError."""
        if self._netlink is None:
            kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            self._netlink = socket.socket(socket.AF_NETLINK, kind, NETLINK_SOCK_DIAG)
        number = next(self._numbers) & 0xFFFFFFFF
        try:
            self._netlink.sendto(question(number, theirs, ours), (0, 0))
            # The kernel has answered before sendto returns. What was left from before is skipped.
            while True:
                reply, (sender, _) = self._netlink.recvfrom(MAX_REPLY)
                if sender == 0 and answers(reply, number):
                    return owner_in(reply, theirs, ours)
        except OSError:
            self.close()
            raise


def end(address: tuple[str, int] | tuple[str, int, int, int]) -> End:
    """Return an end of a connection from its address in Python. Raises OSError."""
    text = address[0].partition("%")[0]
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return End(_short(socket.inet_pton(family, text)), address[1])


def question(number: int, theirs: End, ours: End) -> bytes:
    """Return the message that asks for the socket whose own end is `theirs`."""
    family = socket.AF_INET if len(theirs.address) == 4 else socket.AF_INET6  # noqa: PLR2004  # IPv4
    ends = ENDS.pack(theirs.port, ours.port, theirs.address, ours.address, ANY_SOCKET)
    body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, ALL_STATES) + ends
    length = HEADER.size + len(body)
    return HEADER.pack(length, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, number, 0) + body


def answers(reply: bytes, number: int) -> bool:
    """Return whether a message answers the question with this number."""
    return len(reply) >= HEADER.size and HEADER.unpack_from(reply)[3] == number


def owner_in(reply: bytes, theirs: End, ours: End) -> int | None:
    """Return the owner of the socket that the kernel found, None if it found none or another.

    A socket that no process holds any more has no inode, and would seem to be root's.
    """
    with suppress(struct.error):
        _, kind, _, _, _ = HEADER.unpack_from(reply)
        family, state = FOUND_HEAD.unpack_from(reply, at := HEADER.size)
        port, other_port, address, other, _ = ENDS.unpack_from(reply, at := at + FOUND_HEAD.size)
        uid, inode = FOUND_TAIL.unpack_from(reply, at + ENDS.size)
        size = 4 if family == socket.AF_INET else 16
        found = End(_short(address[:size]), port), End(_short(other[:size]), other_port)
        if (
            kind == SOCK_DIAG_BY_FAMILY
            and found == (theirs, ours)
            and state in HELD_STATES
            and inode
        ):
            return int(uid)
    return None


def _short(address: bytes) -> bytes:
    """Return an address without what IPv6 puts before one of IPv4: RFC 4291, section 2.5.5.2."""
    return address.removeprefix(bytes(10) + b"\xff\xff") if len(address) == 16 else address  # noqa: PLR2004  # IPv6
