"""Takes in connections: sees who comes, within each user's share, and hands them to aiohttp."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias, cast

from aiohttp import web

from refresherd.adapters.api.connection import Connection
from refresherd.adapters.api.problems import whole_answer
from refresherd.adapters.api.quota import ConnectionQuota, Shares
from refresherd.domain.access import Peer, operates
from refresherd.domain.events import AcceptFailed, ConnectionRejected
from refresherd.engine.ports import Observer
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.peers import credentials, identified, process_of

TOO_MANY = whole_answer(503, "you have too many connections to this socket; close some", 1)

PARTING_SECONDS = 0.5
MOST_PARTING = 64
"""How long who is turned away may take to notice, while there are no more of them than this."""

UNREAD_BYTES = 65536

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Reception:
    """Is given what an Acceptor accepts. `name` is what the log calls the socket."""

    def __init__(
        self,
        handler: Handler,
        observer: Observer,
        executor: KeyedExecutor,
        name: str,
        shares: Shares,
    ) -> None:
        self._server = web.Server(handler, handler_cancellation=True)
        self._observer = observer
        self._executor = executor
        self._name = name
        self._own_uid = os.geteuid()
        self._quota = ConnectionQuota(shares, self._own_uid)
        self._arriving: set[asyncio.Task[None]] = set()
        self._parting: deque[socket.socket] = deque()

    def accepted(self, connection: socket.socket, _: object) -> None:
        """Serve a connection, or turn it away."""
        peer = credentials(connection)
        if not self._quota.enter(peer):
            self._turn_away(connection, peer)
            return
        process = None if operates(peer, self._own_uid) else process_of(connection, peer)
        arrival = asyncio.create_task(self._arrive(connection, peer, process))
        self._arriving.add(arrival)
        arrival.add_done_callback(partial(self._arrived, process))

    def failed(self, error: OSError) -> None:
        """Tell why nobody can be served for now."""
        self._observer.observe(AcceptFailed(self._name, error.strerror or str(error)))

    async def close(self, patience: float) -> None:
        """End all connections; answers under way get `patience` seconds, twice at most."""
        while self._parting:
            self._hang_up()
        if self._arriving:
            await asyncio.wait(self._arriving, timeout=patience)
        connections = self._server.connections
        self._server.pre_shutdown()
        await self._server.shutdown(patience)
        for connection in connections:
            # aiohttp closes it, which waits for a client that may never read what is left.
            cast(Connection, connection).abort()

    async def _arrive(self, connection: socket.socket, peer: Peer, process: int | None) -> None:
        if not operates(peer, self._own_uid):
            # A host has hundreds of units, and more below those that a user's own manager has made:
            # who connects again and again must hold up nobody else.
            look_up = partial(identified, connection, peer, process)
            peer = await self._executor.call(("peers", peer.uid), look_up)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: Connection(self._server, peer, self._quota.leave), connection
        )

    def _arrived(self, process: int | None, arrival: asyncio.Task[None]) -> None:
        self._arriving.discard(arrival)
        if process is not None:
            os.close(process)

    def _turn_away(self, connection: socket.socket, peer: Peer) -> None:
        """Say so, and hang up a little later: a client looks for no answer before it has asked."""
        self._observer.observe(ConnectionRejected(self._name, peer.uid, self._quota.of(peer)))
        with suppress(OSError):
            connection.send(TOO_MANY)
        self._parting.append(connection)
        if len(self._parting) > MOST_PARTING:
            self._hang_up()
        else:
            asyncio.get_running_loop().call_later(PARTING_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        """Close the connection that was turned away first."""
        if self._parting:
            with self._parting.popleft() as connection, suppress(OSError):
                # With something unread, the client might not get to read its answer either.
                connection.recv(UNREAD_BYTES)
