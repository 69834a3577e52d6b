"""One client's HTTP connection, with a deadline for whatever the client can delay."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from aiohttp import web

from refresherd.adapters.api.rendering import problem
from refresherd.domain.access import Peer
from refresherd.domain.model import Access

MAX_LINE = 2048
MAX_HEADERS = 64
READ_BYTES = 8192

SMALLEST_BUFFER = 1
"""Bytes; the kernel raises it to its minimum, about two tokens: socket(7)."""


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
    """aiohttp's protocol for an identified peer. Calls `closed` when the connection ends."""

    _transport: asyncio.Transport

    __slots__ = ("_closed", "_limits", "_transport", "_unread", "_watching", "granted", "peer")

    def __init__(
        self, server: web.Server, peer: Peer, limits: Limits, closed: Callable[[Peer], None]
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # its documentation allows None
            keepalive_timeout=limits.request_time,
            lingering_time=limits.body_time,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
            read_bufsize=READ_BYTES,
            tcp_keepalive=False,
        )
        self.peer = peer
        self.granted: dict[str, Access] = {}
        """The `access` that permitted the peer, by app."""
        self._limits = limits
        self._closed = closed
        self._watching = False
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count every byte that the client does not read at once as unread."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the deadline, and report the end of the connection."""
        self._stop_deadline()
        super().connection_lost(exc)
        self._closed(self.peer)

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
