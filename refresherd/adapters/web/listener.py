"""Where the HTTP listener listens, whose its connections are, and how it stops."""

import errno
import os
import socket
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from refresherd.adapters.web.pages import Pages
from refresherd.domain.connection_quota import User
from refresherd.domain.errors import RefresherdError
from refresherd.engine.ports import Clock
from refresherd.host.acceptor import BACKLOG
from refresherd.host.admission import Admission
from refresherd.host.http.refusals import REFUSALS
from refresherd.host.http.server import DEFAULT_TIMES, HttpServer, Times
from refresherd.host.listener import Listener
from refresherd.host.stream import Stream
from refresherd.host.tcp_peers import TcpPeers

if TYPE_CHECKING:
    from refresherd.adapters.web.gate import Gate

STOP_SECONDS = 0.4
"""How long a stop waits for answers in progress before it cuts them off."""

UNSENT_BYTES = 65536
"""What the kernel buffers of an answer, besides what is on its way: tcp(7)."""

IPV4_LOOPBACK = IPv4Network("127.0.0.0/8")

IPV6_SITE = 64
"""The length of the prefix of an IPv6 network, in which a host may have any number of addresses."""

_REASONS = {
    errno.EADDRINUSE: "the address is in use; end the other process, or write another port under "
    "listen in [http]",
    errno.EACCES: "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)",
    errno.EADDRNOTAVAIL: "this host has no such address; write one that it has, such as 127.0.0.1",
    errno.EAFNOSUPPORT: "this host has no IPv6; write an IPv4 address, such as 127.0.0.1",
}

_UNKNOWN_NAME = "this host does not know the name; write an address, such as 127.0.0.1"


class HttpListener:
    """Serves the pages on each address of `listen`, pairs of host and port.

    Without a `gate`, it serves all who connect, unencrypted.
    """

    def __init__(  # noqa: PLR0913  # the last two have defaults
        self,
        listen: Iterable[tuple[str, int]],
        pages: Pages,
        clock: Clock,
        admission: Admission,
        *,
        gate: "Gate | None" = None,
        times: Times = DEFAULT_TIMES,
    ) -> None:
        self._listen = tuple(listen)
        self._admission = admission
        self._peers = TcpPeers()
        self._sockets: list[socket.socket] = []
        self._listeners: list[Listener] = []
        self._pages = pages
        self._gate = gate
        handle = pages.handle if gate is None else gate.handle
        self._server: HttpServer[None] = HttpServer(handle, clock, times)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """The addresses on which it listens, with the ports that the kernel chose for 0."""
        return tuple(bound.getsockname()[:2] for bound in self._sockets)

    async def start(self) -> None:
        """Listen on every address, or on none.

        Raises RefresherdError, which names the address on which it cannot listen.
        """
        try:
            for host, port in self._listen:
                self._sockets.append(_bind(host, port))
        except RefresherdError:
            await self.stop()
            raise
        gate = self._gate
        if gate is not None:
            await gate.start()
        for bound in self._sockets:
            name = address_text(*bound.getsockname()[:2])
            listener = Listener(
                bound,
                name,
                self._admission,
                user=self._user,
                serve=lambda stream, _: self._server.serve(stream, None),
                refusals=REFUSALS if gate is None else gate.refusals,
                make_stream=Stream if gate is None else gate.new_stream(name),
            )
            listener.start()
            self._listeners.append(listener)

    async def stop(self) -> None:
        """Stop listening, and cut off clients that have no answer within a second."""
        for listener in self._listeners:
            listener.stop()
        for bound in self._sockets:
            bound.close()
        self._listeners.clear()
        self._sockets.clear()
        await self._server.stop(STOP_SECONDS)
        if self._gate is not None:
            self._gate.stop()
        self._pages.close()
        self._peers.close()

    def _user(self, connection: socket.SocketType, _: object) -> User:
        """Return a client's uid, or its address if it is on another host. Raises OSError."""
        uid = self._peers.owner(connection)
        return site(connection.getpeername()[0]) if uid is None else uid


def site(address: str) -> str:
    """Return one name for all addresses that a client may choose from.

    With IPv6 that is its network. A local client that has closed its end has no known user, and
    may have used any loopback address.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if parsed in IPV4_LOOPBACK:
        return str(IPV4_LOOPBACK)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), IPV6_SITE), strict=False))
    return str(parsed)


def address_text(host: str, port: int) -> str:
    """Return an address as a URL spells it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; `::` stands for all IPv6 addresses, and for no IPv4 address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        number = error.errno or 0
        # The numbers of getaddrinfo(3) are negative, and create_server() lengthens the texts.
        reason = _UNKNOWN_NAME if number < 0 else _REASONS.get(number, os.strerror(number))
        raise RefresherdError(f"cannot listen on {address_text(host, port)}: {reason}") from error
    listening.settimeout(0)
    # Accepted sockets inherit it. The kernel would take 3 MB for each client that does not read.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return listening
