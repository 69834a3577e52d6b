"""Tells whoever connects one thing, and hangs up."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from refresherd.host.acceptor import Acceptor, Failed
from refresherd.host.unix_sockets import Listening

STUCK_SECONDS = 5.0
"""A client that has not taken in what it is told after this long is cut off."""

UNREAD_BYTES = 65536

Content: TypeAlias = Callable[[socket.socket, object], bytes]
"""A connection and its peer's address → all that it is told."""


class Handout:
    """Serves a socket until it is closed. Clients are told at once, and wait for nobody."""

    def __init__(self, bound: Listening, content: Content, failed: Failed) -> None:
        self._bound = bound
        self._content = content
        self._telling: set[asyncio.Task[None]] = set()
        self._acceptor = Acceptor(bound.socket, self._accepted, failed)
        self._acceptor.start()

    def in_place(self) -> bool:
        """Return whether clients still find the socket. It may block."""
        return self._bound.in_place()

    def close(self) -> None:
        """Serve nobody any more."""
        self._acceptor.stop()
        self._bound.close()
        for telling in self._telling:
            telling.cancel()

    def _accepted(self, connection: socket.socket, address: object) -> None:
        telling = asyncio.create_task(_tell(connection, self._content(connection, address)))
        self._telling.add(telling)
        telling.add_done_callback(partial(self._told, connection))

    def _told(self, connection: socket.socket, telling: asyncio.Task[None]) -> None:
        # Here, since a task that is cancelled before it began does nothing at all.
        connection.close()
        self._telling.discard(telling)


async def _tell(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # TimeoutError is one as well
        async with asyncio.timeout(STUCK_SECONDS):
            await asyncio.get_running_loop().sock_sendall(connection, content)
        connection.shutdown(socket.SHUT_WR)
        # With something unread, hanging up would be an error to the client, and no end of file.
        connection.recv(UNREAD_BYTES)
