"""Accepts connections as they come, and hands each on."""

import asyncio
import socket
from collections.abc import Callable
from typing import TypeAlias

BATCH = 64
"""Connections accepted before the event loop gets its turn."""

PAUSE_SECONDS = 1.0
"""How long to leave callers waiting where the process or the host is out of descriptors."""

Accepted: TypeAlias = Callable[[socket.socket, object], None]
"""Is given a non-blocking connection, to keep or to close, and its peer's address."""

Failed: TypeAlias = Callable[[OSError], None]
"""Is told why nobody can be accepted for now."""


class Acceptor:
    """Watches one listening, non-blocking socket, which stays its owner's to close."""

    def __init__(self, listening: socket.socket, accepted: Accepted, failed: Failed) -> None:
        self._listening = listening
        self._accepted = accepted
        self._failed = failed
        self._resume: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._resume = None
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def stop(self) -> None:
        """Accept no more; who is queued is turned away when the socket is closed."""
        if self._resume is not None:
            self._resume.cancel()
        asyncio.get_running_loop().remove_reader(self._listening)

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            connection.settimeout(0)
            self._accepted(connection, address)

    def _pause(self, error: OSError) -> None:
        self._failed(error)
        loop = asyncio.get_running_loop()
        # Callers stay in the queue, so the loop would come back here without end.
        loop.remove_reader(self._listening)
        self._resume = loop.call_later(PAUSE_SECONDS, self.start)
