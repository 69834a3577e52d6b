"""An HTTP server: its connections, their deadlines, and how they end."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from refresherd.engine.ports import Clock
from refresherd.host.http import answers
from refresherd.host.http.answers import Answer, problem
from refresherd.host.http.connection import C, HttpConnection
from refresherd.host.http.requests import Request
from refresherd.host.stream import Stream

MAX_KNOWN = 256
"""Requests that are remembered, of at most MAX_KNOWN_BYTES each."""

MAX_KNOWN_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Times:
    """Deadlines in seconds."""

    request: float = 30.0
    """For a complete request, counted from the connection or from the last answer, however slowly
    its bytes arrive."""
    answer: float = 30.0
    """For reading a whole answer."""


DEFAULT_TIMES = Times()


class Handler(Protocol[C]):
    """Answers requests."""

    def __call__(
        self, connection: HttpConnection[C], request: Request
    ) -> Answer | Coroutine[Any, Any, Answer | None]:
        """Return the answer, or a coroutine that makes it if that takes waiting.

        The coroutine returns None if it sent its answer by `begin` and `send`; then the connection
        ends.
        """


class HttpServer(Generic[C]):
    """What the connections of a listener have in common."""

    def __init__(self, handler: Handler[C], clock: Clock, times: Times = DEFAULT_TIMES) -> None:
        self.handler = handler
        self.date = answers.dates(clock)
        self.times = times
        self.known: dict[bytes, Request] = {}
        """Requests by their bytes: most clients send the same again and again."""
        self.stopping = False
        self.connections: set[HttpConnection[C]] = set()

    def serve(self, stream: Stream, client: C) -> None:
        """Answer the requests on a new connection."""
        connection = HttpConnection(self, stream, client)
        self.connections.add(connection)
        stream.deadline = asyncio.get_running_loop().time() + self.times.request
        stream.start(connection)

    async def stop(self, patience: float) -> None:
        """Close all connections; those that wait for an answer get it within `patience` seconds."""
        self.stopping = True
        waiting = [task for connection in tuple(self.connections) if (task := connection.stop())]
        if waiting:
            await asyncio.wait(waiting, timeout=patience)
        for connection in tuple(self.connections):
            connection.stream.close()

    def remember(self, data: bytes, request: Request) -> None:
        """Remember that exactly these bytes are this request."""
        if len(data) <= MAX_KNOWN_BYTES:
            if len(self.known) >= MAX_KNOWN:
                self.known.clear()
            self.known[data] = request

    def bug(self, error: BaseException) -> Answer:
        """Report an exception that a handler should not have raised; return the answer."""
        context = {"message": "a request failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
        return problem(500, "internal error; see the daemon's log", closes=True)
