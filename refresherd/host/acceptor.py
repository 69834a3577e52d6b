"""Accepts the connections of a listening socket, and survives a lack of descriptors."""

import asyncio
import socket
from collections.abc import Callable
from typing import TypeAlias

BACKLOG = 4096
"""Clients that wait in a listening socket's queue; the kernel caps it at net.core.somaxconn. Where
it is full, a client of a Unix socket fails at once, and one of a TCP port tries again in a second.
"""

BATCH = 64
"""Connections kept before the event loop gets its turn."""

BATCH_CLOSED = 512
"""Connections accepted before the event loop gets its turn, even if all are closed at once."""

PAUSE_SECONDS = 1.0
"""How long callers are left waiting when the process or the host is out of descriptors."""

Accepted: TypeAlias = Callable[[socket.SocketType, object], bool]
"""Gets a connection, to keep or to close, and its peer's address; returns whether it is kept."""

Failed: TypeAlias = Callable[[OSError], None]
"""Gets the reason why no connection can be accepted for now."""


class Acceptor:
    """Accepts the connections of a listening, non-blocking socket, which its owner closes."""

    def __init__(
        self,
        listening: socket.socket,
        accepted: Accepted,
        failed: Failed,
        *,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._listening = listening
        self._accepted = accepted
        self._failed = failed
        self._pause = pause
        self._resume: asyncio.TimerHandle | None = None
        self._kind = (int(listening.family), int(listening.type), listening.proto)

    def start(self) -> None:
        """Accept from now on."""
        self._resume = None
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def stop(self) -> None:
        """Accept no more; queued clients are refused when the socket is closed."""
        if self._resume is not None:
            self._resume.cancel()
        asyncio.get_running_loop().remove_reader(self._listening)

    def _accept(self) -> None:
        kept = 0
        # socket.accept() spends 5 microseconds more, which decides whether a flood can be outrun.
        accept = self._listening._accept  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
        for _ in range(BATCH_CLOSED):
            try:
                descriptor, address = accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._failed(error)
                loop = asyncio.get_running_loop()
                # Callers stay in the queue, so the loop would come back here at once.
                loop.remove_reader(self._listening)
                self._resume = loop.call_later(self._pause, self.start)
                return
            connection = socket.SocketType(*self._kind, descriptor)
            kept += self._accepted(connection, address)
            if kept == BATCH:
                return


def turn_away(listening: socket.socket) -> Acceptor:
    """Close each connection of a listening socket at once, until the acceptor is stopped."""

    def accepted(connection: socket.SocketType, _: object) -> bool:
        connection.close()
        return False

    acceptor = Acceptor(listening, accepted, lambda _: None)
    acceptor.start()
    return acceptor
