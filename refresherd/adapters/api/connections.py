"""Clients' connections: identified, within their users' quotas, with a deadline for delays."""

import asyncio
import os
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

from aiohttp import web

from refresherd.adapters.api.rendering import problem, raw_problem
from refresherd.domain.access import Peer, is_operator
from refresherd.domain.events import AcceptFailed, ConnectionRejected
from refresherd.engine.ports import Observer
from refresherd.host.authorization import Authorizer, Client

MAX_LINE = 2048

SMALLEST_BUFFER = 1
"""Bytes; the kernel raises it to its minimum, about two tokens: socket(7)."""

TOO_MANY = raw_problem(503, "you have too many connections to this socket; close some", 1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may cost the daemon. Times in seconds."""

    user_connections: int = 128
    """Open connections of one user."""
    operator_connections: int = 4096
    """Open connections of root, and of the daemon's own user: services that share one add up."""
    all_connections: int = 8192
    """Open connections of all users together."""
    request_time: float = 30.0
    """A connection without a complete request is closed then, however slowly the bytes arrive."""
    unread_time: float = 30.0
    """A client that has not read its answer is cut off then."""
    body_time: float = 1.0
    """How long a request's body may take to arrive; it is not read."""
    rejected_connections: int = 64
    """Rejected connections that may be open at a time."""
    rejected_time: float = 0.5
    """How long a rejected connection stays open for its client to read why."""


class Connection(web.RequestHandler):
    """aiohttp's protocol for a known peer. Calls `closed` when the connection ends."""

    __slots__ = ("_closed", "_limits", "_transport", "_unread", "_watching", "client")

    def __init__(
        self, server: web.Server, client: Client, limits: Limits, closed: Callable[[Peer], None]
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # its documentation allows None
            keepalive_timeout=limits.request_time,
            lingering_time=limits.body_time,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=64,
            read_bufsize=8192,
            tcp_keepalive=False,
        )
        self.client = client
        self._limits = limits
        self._closed = closed
        self._watching = False
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count every byte that the client does not read at once as unread."""
        self._transport: asyncio.Transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the deadline, and report the end of the connection."""
        self._stop_deadline()
        super().connection_lost(exc)
        self._closed(self.client.peer)

    def pause_writing(self) -> None:
        """Start the deadline: the client has not read all of an answer."""
        super().pause_writing()
        if not self._watching:
            self._unread = self._loop.call_later(self._limits.unread_time, self.abort)

    def resume_writing(self) -> None:
        """Stop the deadline: the client has read on."""
        self._stop_deadline()
        super().resume_writing()

    def start_watch(self) -> None:
        """Prepare for a watch: allow pauses in reading, and buffer little.

        A watching process may be stopped and continued, so it is not cut off; its user's limit on
        connections bounds the harm. With a small buffer it soon reaches the newest lines.
        """
        self._watching = True
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)

    def abort(self) -> None:
        """Close at once. A plain close would wait until the client has read everything."""
        self._transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it may repeat what the client sent
    ) -> web.StreamResponse:
        """Answer a malformed request with 400 and a bug with 500.

        Raises ConnectionError if an answer has begun already.
        """
        bug = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if bug:
            self.log_exception("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, so no other can follow")
        detail = "internal error; see the daemon's log" if bug else "not a valid HTTP request"
        response = problem(status, detail)
        response.force_close()
        return response

    def _stop_deadline(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


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
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        observer: Observer,
        authorizer: Authorizer,
        name: str,
        limits: Limits,
    ) -> None:
        self._server = web.Server(handler, handler_cancellation=True)
        self._observer = observer
        self._authorizer = authorizer
        self._name = name
        self._limits = limits
        self._own_uid = os.geteuid()
        self._quota = ConnectionQuota(limits, self._own_uid)
        self._admissions: set[asyncio.Task[None]] = set()
        self._rejected: deque[socket.socket] = deque()

    def accepted(self, connection: socket.socket, _: object) -> None:
        """Serve a connection, or reject it if its user has too many."""
        client = self._authorizer.client(connection, self._name)
        if not self._quota.enter(client.peer):
            self._reject(connection, client.peer)
            return
        admission = asyncio.create_task(self._admit(client))
        self._admissions.add(admission)
        admission.add_done_callback(self._admissions.discard)

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

    async def _admit(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: Connection(self._server, client, self._limits, self._quota.leave),
            client.connection,
        )

    def _reject(self, connection: socket.socket, peer: Peer) -> None:
        """Send the reason, and close a little later: clients read only after sending a request."""
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
                connection.recv(65536)
