"""The TCP listener's life: bound, served, and stopped within a second."""

import errno
import socket
from collections.abc import Iterable

from aiohttp import web

from refresherd.adapters.web.pages import Pages, Render
from refresherd.domain.errors import RefresherdError
from refresherd.engine.ports import Clock, Roster

IDLE_SECONDS = 30.0
"""A connection without a request, new or not, is closed after this time."""

UNREAD_SECONDS = 30.0
"""A client that reads nothing for this long is cut off, or its answer would be kept for ever."""

STOP_SECONDS = 0.2
"""aiohttp waits twice this long for answers in progress before it cuts them off."""

_REASONS = {
    errno.EADDRINUSE: "the address is in use",
    errno.EACCES: "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)",
    errno.EADDRNOTAVAIL: "this host has no such address",
}


class HttpListener:
    """Serves the pages on each address of `listen`, pairs of host and port.

    `render` and the roster's `statuses` are called in a thread.
    """

    def __init__(  # noqa: PLR0913  # the last two have defaults
        self,
        listen: Iterable[tuple[str, int]],
        render: Render,
        roster: Roster,
        clock: Clock,
        *,
        idle_time: float = IDLE_SECONDS,
        unread_time: float = UNREAD_SECONDS,
    ) -> None:
        self._listen = tuple(listen)
        self._unread_time = unread_time
        self._sockets: list[socket.socket] = []
        self._runner = web.AppRunner(
            Pages(render, roster, clock).application(),
            access_log=None,
            keepalive_timeout=idle_time,
            shutdown_timeout=STOP_SECONDS,
        )

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
                self._sockets.append(_bind(host, port, self._unread_time))
        except RefresherdError:
            await self.stop()
            raise
        await self._runner.setup()
        for bound in self._sockets:
            await web.SockSite(self._runner, bound).start()

    async def stop(self) -> None:
        """Stop listening, and cut off clients that have no answer within a second."""
        connections = self._runner.server.connections if self._runner.server else []
        transports = [connection.transport for connection in connections]
        await self._runner.cleanup()
        for transport in transports:
            if transport is not None:
                # aiohttp has closed it, but waits for a client that may never read the rest.
                transport.abort()
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()


def _bind(host: str, port: int, unread_time: float) -> socket.socket:
    """Return a listening socket; `::` stands for all IPv6 addresses, and for no IPv4 address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise RefresherdError(f"cannot listen on {address_text(host, port)}: {reason}") from error
    # Accepted sockets inherit it; it covers a client whose window is closed as well (tcp(7)).
    milliseconds = int(unread_time * 1000)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listening


def address_text(host: str, port: int) -> str:
    """Return an address as a URL spells it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
