"""The TCP listener's life: bound, served, and stopped within a second."""

import socket
from collections.abc import Iterable

from aiohttp import web

from refresherd.adapters.web.binding import bind
from refresherd.adapters.web.pages import Pages, Render
from refresherd.domain.errors import RefresherdError
from refresherd.engine.ports import Clock, Roster

IDLE_SECONDS = 30.0
"""A connection without a request is closed after this long, a new one as well."""

STOP_SECONDS = 0.2
"""aiohttp waits twice this long for answers under way before it cuts them off."""


class HttpListener:
    """Serves the pages on each address of `listen`, pairs of host and port.

    `render` is called in a thread, and so are the roster's `statuses`.
    """

    def __init__(
        self, listen: Iterable[tuple[str, int]], render: Render, roster: Roster, clock: Clock
    ) -> None:
        self._listen = tuple(listen)
        self._sockets: list[socket.socket] = []
        self._runner = web.AppRunner(
            Pages(render, roster, clock).application(),
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            shutdown_timeout=STOP_SECONDS,
        )

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """The addresses that are listened on, with the ports that the kernel chose for 0."""
        return tuple(bound.getsockname()[:2] for bound in self._sockets)

    async def start(self) -> None:
        """Listen on every address, or on none.

        Raises RefresherdError, which names the address that could not be had.
        """
        try:
            for host, port in self._listen:
                self._sockets.append(bind(host, port))
        except RefresherdError:
            await self.stop()
            raise
        await self._runner.setup()
        for bound in self._sockets:
            await web.SockSite(self._runner, bound).start()

    async def stop(self) -> None:
        """Stop listening, and cut off who has not had its answer within a second."""
        connections = self._runner.server.connections if self._runner.server else []
        transports = [connection.transport for connection in connections]
        await self._runner.cleanup()
        for transport in transports:
            if transport is not None:
                # aiohttp closes it, which waits for a peer that may never read what is left.
                transport.abort()
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()
