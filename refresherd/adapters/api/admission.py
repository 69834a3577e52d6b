"""Admits connections: identifies each peer, enforces its quota, and starts HTTP."""

import asyncio
import os
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, cast

from aiohttp import web

from refresherd.adapters.api.connection import Connection, Limits
from refresherd.adapters.api.rendering import raw_problem
from refresherd.domain.access import Peer, is_operator
from refresherd.domain.events import AcceptFailed, ConnectionRejected
from refresherd.engine.ports import Observer
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.peers import credentials, identified, process_of

TOO_MANY = raw_problem(503, "you have too many connections to this socket; close some", 1)

UNREAD_BYTES = 65536

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class ConnectionQuota:
    """Counts each user's open connections, so that no user can take another's share."""

    limits: Limits
    own_uid: int
    _open: Counter[int] = field(default_factory=Counter)
    _total: int = 0

    def enter(self, peer: Peer) -> bool:
        """Count a new connection; return False if its user, or all together, have too many."""
        operator = is_operator(peer, self.own_uid)
        share = self.limits.operator_connections if operator else self.limits.user_connections
        if self._open[peer.uid] >= share or self._total >= self.limits.all_connections:
            return False
        self._open[peer.uid] += 1
        self._total += 1
        return True

    def leave(self, peer: Peer) -> None:
        """Stop counting a connection that has ended."""
        self._total -= 1
        self._open[peer.uid] -= 1
        if not self._open[peer.uid]:
            del self._open[peer.uid]

    def of(self, peer: Peer) -> int:
        """Return how many connections the peer's user has open."""
        return self._open.get(peer.uid, 0)


class Admission:
    """Takes the connections that an Acceptor accepts. `name` is the socket's name in the log."""

    def __init__(
        self,
        handler: Handler,
        observer: Observer,
        executor: KeyedExecutor,
        name: str,
        limits: Limits,
    ) -> None:
        self._server = web.Server(handler, handler_cancellation=True)
        self._observer = observer
        self._executor = executor
        self._name = name
        self._limits = limits
        self._own_uid = os.geteuid()
        self._quota = ConnectionQuota(limits, self._own_uid)
        self._admissions: set[asyncio.Task[None]] = set()
        self._rejected: deque[socket.socket] = deque()

    def accepted(self, connection: socket.socket, _: object) -> None:
        """Serve a connection, or reject it if its user has too many."""
        peer = credentials(connection)
        if not self._quota.enter(peer):
            self._reject(connection, peer)
            return
        process = None if is_operator(peer, self._own_uid) else process_of(connection, peer)
        admission = asyncio.create_task(self._admit(connection, peer, process))
        self._admissions.add(admission)
        admission.add_done_callback(partial(self._admitted, process))

    def failed(self, error: OSError) -> None:
        """Report why no connection can be accepted for now."""
        self._observer.observe(AcceptFailed(self._name, error.strerror or str(error)))

    async def close(self, patience: float) -> None:
        """End all connections; answers in progress get twice `patience` seconds at most."""
        while self._rejected:
            self._close_oldest_rejected()
        if self._admissions:
            await asyncio.wait(self._admissions, timeout=patience)
        connections = self._server.connections
        self._server.pre_shutdown()
        await self._server.shutdown(patience)
        for connection in connections:
            # aiohttp has closed it, but waits for a client that may never read the rest.
            cast(Connection, connection).abort()

    async def _admit(self, connection: socket.socket, peer: Peer, process: int | None) -> None:
        if not is_operator(peer, self._own_uid):
            # A host has hundreds of units, so this takes a while: a user who connects again and
            # again must delay nobody else.
            look_up = partial(identified, connection, peer, process)
            peer = await self._executor.call(("peers", peer.uid), look_up)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: Connection(self._server, peer, self._limits, self._quota.leave), connection
        )

    def _admitted(self, process: int | None, admission: asyncio.Task[None]) -> None:
        self._admissions.discard(admission)
        if process is not None:
            os.close(process)

    def _reject(self, connection: socket.socket, peer: Peer) -> None:
        """Send the reason, and close a little later: clients read only after they have asked."""
        self._observer.observe(ConnectionRejected(self._name, peer.uid, self._quota.of(peer)))
        with suppress(OSError):
            connection.send(TOO_MANY)
        self._rejected.append(connection)
        if len(self._rejected) > self._limits.rejected_connections:
            self._close_oldest_rejected()
        else:
            asyncio.get_running_loop().call_later(
                self._limits.rejected_time, self._close_oldest_rejected
            )

    def _close_oldest_rejected(self) -> None:
        if self._rejected:
            with self._rejected.popleft() as connection, suppress(OSError):
                # If a request were left unread, the kernel might discard the answer.
                connection.recv(UNREAD_BYTES)
