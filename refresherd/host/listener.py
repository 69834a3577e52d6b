"""A listening socket whose clients all go through one admission."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

from refresherd.domain.connection_quota import Rank, Refusal, User
from refresherd.domain.events import AcceptFailed
from refresherd.host.acceptor import Acceptor
from refresherd.host.admission import Admission
from refresherd.host.stream import READ_BYTES, Stream

REFUSED_CONNECTIONS = 64
"""Refused connections that stay open for a moment, so that their clients can read why."""

REFUSED_SECONDS = 0.5
"""How long a refused connection stays open; if more come, it is closed earlier."""

C = TypeVar("C")
"""What a listener knows of its clients."""


class Listener(Generic[C]):
    """Accepts the connections of a listening, non-blocking socket, which its owner closes."""

    def __init__(  # noqa: PLR0913  # each is one part of what a listener does
        self,
        listening: socket.socket,
        name: str,
        admission: Admission,
        *,
        identify: Callable[[socket.socket, object], tuple[User, Rank, C]],
        serve: Callable[[Stream, C], None],
        refusals: Mapping[Refusal, bytes] | None = None,
    ) -> None:
        """`name` is the listener's name in logs and metrics.

        `identify` returns who is at the other end of a connection, given its address as accept(2)
        returns it. `serve` takes a connection that has a place. `refusals` are what clients read
        whose connections have none.
        """
        self._name = name
        self._admission = admission
        self._identify = identify
        self._serve = serve
        self._refusals = refusals or {}
        self._refused: deque[socket.socket] = deque()
        self._acceptor = Acceptor(listening, self._accepted, self._failed)

    def start(self) -> None:
        """Accept from now on."""
        self._acceptor.start()

    def stop(self) -> None:
        """Accept no more; queued clients are refused when the socket is closed."""
        self._acceptor.stop()
        while self._refused:
            self._close_refused()

    def _accepted(self, connection: socket.socket, address: object) -> None:
        try:
            user, rank, client = self._identify(connection, address)
        except OSError:  # it is gone already
            connection.close()
            return
        admitted = self._admission.admit(connection, user, rank, self._name)
        if isinstance(admitted, Stream):
            self._serve(admitted, client)
        else:
            self._refuse(connection, self._refusals.get(admitted, b""))

    def _refuse(self, connection: socket.socket, reason: bytes) -> None:
        """Send the reason, and close a little later: clients read only after sending a request.

        In a flood, close at once.
        """
        if not reason or len(self._refused) >= REFUSED_CONNECTIONS:
            connection.close()
            return
        with suppress(OSError):
            connection.send(reason)
        self._refused.append(connection)
        asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._close_refused)

    def _close_refused(self) -> None:
        if self._refused:
            with self._refused.popleft() as connection, suppress(OSError):
                # If a request were left unread, the kernel might discard the answer.
                connection.recv(READ_BYTES)

    def _failed(self, error: OSError) -> None:
        self._admission.observer.observe(AcceptFailed(self._name, error.strerror or str(error)))
