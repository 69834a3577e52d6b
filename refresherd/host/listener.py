"""A listening socket whose clients all go through one admission."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from refresherd.domain.connection_quota import Refusal, User
from refresherd.domain.events import AcceptFailed
from refresherd.host.acceptor import Acceptor
from refresherd.host.admission import Admission
from refresherd.host.stream import READ_BYTES, NewStream, Stream

REFUSED_CONNECTIONS = 64
"""Refused connections that stay open for a moment, so that their clients can read why."""

REFUSED_SECONDS = 0.5
"""How long a refused connection stays open; if more come, it is closed earlier."""


class Listener:
    """Accepts the connections of a listening, non-blocking socket, which its owner closes."""

    def __init__(  # noqa: PLR0913  # each is one part of what a listener does
        self,
        listening: socket.socket,
        name: str,
        admission: Admission,
        *,
        user: Callable[[socket.SocketType, object], User],
        serve: Callable[[Stream, object], None],
        refusals: Mapping[Refusal, bytes] | None = None,
        make_stream: NewStream = Stream,
    ) -> None:
        """`name` is the listener's name in logs and metrics.

        `user` returns whose share a connection takes, given its address as accept(2) returns it.
        `serve` takes a connection that has a place, and its address. `refusals` are what clients
        read whose connections have none.
        """
        self._name = name
        self._admission = admission
        self._user = user
        self._serve = serve
        self._refusals = refusals or {}
        self._make_stream = make_stream
        self._refused: deque[socket.SocketType] = deque()
        self._acceptor = Acceptor(listening, self._accepted, self._failed)

    def start(self) -> None:
        """Accept from now on."""
        self._acceptor.start()

    def stop(self) -> None:
        """Accept no more; queued clients are refused when the socket is closed."""
        self._acceptor.stop()
        while self._refused:
            self._close_refused()

    def _accepted(self, connection: socket.SocketType, address: object) -> bool:
        """Refuse or serve a connection; refusals come first: a flood brings 60,000 a second."""
        try:
            user = self._user(connection, address)
            refusal = self._admission.arrive(user, self._name)
            if refusal is None:
                connection.settimeout(0)
                admission, make = self._admission, self._make_stream
                admitted = admission.admit(connection, user, self._name, make)
                if isinstance(admitted, Stream):
                    return self._begin(admitted, address)
                refusal = admitted
        except OSError:  # it is gone already
            connection.close()
            return False
        self._refuse(connection, refusal)
        return False

    def _begin(self, stream: Stream, address: object) -> bool:
        """Serve a connection; whatever fails, its place is not lost."""
        try:
            self._serve(stream, address)
        except OSError:  # it is gone already
            stream.close()
        except BaseException:
            stream.close()
            raise
        return True

    def _refuse(self, connection: socket.SocketType, refusal: Refusal) -> None:
        """Send the reason, and close a little later: clients read only after sending a request.

        In a flood, close at once.
        """
        reason = self._refusals.get(refusal)
        if reason is None or len(self._refused) >= REFUSED_CONNECTIONS:
            connection.close()
            return
        connection.settimeout(0)
        with suppress(OSError):
            connection.send(reason)
        self._refused.append(connection)
        asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._close_refused)

    def _close_refused(self) -> None:
        if self._refused:
            connection = self._refused.popleft()
            with suppress(OSError):
                # If a request were left unread, the kernel might discard the answer.
                connection.recv(READ_BYTES)
            connection.close()

    def _failed(self, error: OSError) -> None:
        self._admission.observer.observe(AcceptFailed(self._name, error.strerror or str(error)))
