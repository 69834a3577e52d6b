"""One client's HTTP connection, with a deadline for whatever it may keep waiting."""

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from aiohttp import web

from refresherd.adapters.api.problems import problem
from refresherd.domain.access import Peer
from refresherd.domain.model import Access

REQUEST_SECONDS = 30.0
"""A connection without a whole request is closed after this long, however it dribbles in."""

STUCK_SECONDS = 30.0
"""A client that has not taken in an answer after this long is cut off."""

LINGER_SECONDS = 1.0
"""How long a body that nobody asked for may take to arrive."""

SMALLEST_BUFFER = 1
"""Bytes; the kernel takes the least that it allows, two tokens or so: socket(7)."""

LONGEST_LINE = 2048
MOST_HEADERS = 64
READ_BYTES = 8192


class Connection(web.RequestHandler):
    """aiohttp's protocol for a peer that is known. `left` is told when the connection ends.

    `granted` holds what permitted the peer, by app.
    """

    _wire: asyncio.Transport

    __slots__ = ("_left", "_patient", "_stuck", "_wire", "granted", "peer")

    def __init__(self, server: web.Server, peer: Peer, left: Callable[[Peer], None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as its own documentation has it
            keepalive_timeout=REQUEST_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=MOST_HEADERS,
            read_bufsize=READ_BYTES,
            tcp_keepalive=False,
        )
        self.peer = peer
        self.granted: dict[str, Access] = {}
        self._patient = False
        self._left = left
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have every byte that the client does not take in at once counted as stuck."""
        self._wire = cast(asyncio.Transport, transport)
        self._wire.set_write_buffer_limits(high=0)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the peer."""
        self._unstick()
        super().connection_lost(exc)
        self._left(self.peer)

    def pause_writing(self) -> None:
        """Give the client its time: it has not taken in all of an answer."""
        super().pause_writing()
        if not self._patient:
            self._stuck = self._loop.call_later(STUCK_SECONDS, self.abort)

    def resume_writing(self) -> None:
        """See that the client goes on."""
        self._unstick()
        super().resume_writing()

    def expect_slowness(self) -> None:
        """Be patient, and keep few lines for the client, so that it soon reads new ones.

        Nor is it cut off: a stopped process may be continued. Its user's share bounds the harm.
        """
        self._patient = True
        wire = self._wire.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)

    def abort(self) -> None:
        """Cut the client off, whatever is still to be sent: closing would wait for it."""
        self._wire.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # aiohttp's; it repeats what the client sent
    ) -> web.StreamResponse:
        """Answer what is no HTTP, and what a bug keeps from being answered."""
        ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if ours:
            self.log_exception("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, so that no other can follow")
        detail = "see the daemon's log" if ours else "this is no request that HTTP knows"
        response = problem(status, detail)
        response.force_close()
        return response

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
