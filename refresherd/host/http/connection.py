"""A client's connection: its requests are answered one after the other, in their order."""

import asyncio
import select
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from refresherd.host.http import answers
from refresherd.host.http.answers import Answer, problem
from refresherd.host.http.long_answers import LongAnswer
from refresherd.host.http.requests import Malformed, Request, RequestReader
from refresherd.host.stream import READ_BYTES, Stream

if TYPE_CHECKING:
    from refresherd.host.http.server import HttpServer

C = TypeVar("C")
"""What a listener knows of its clients."""

PIECE_BYTES = 1024
"""Bytes that are parsed at a time. Requests behind one that waits stay bytes: parsed, they would
take twenty times as much memory."""


class HttpConnection(Generic[C]):
    """Speaks HTTP on a stream: implements Dialogue."""

    __slots__ = (
        "_begun", "_behind", "_ended", "_ending", "_reader", "_server", "_task", "_waits", "client",
        "stream",
    )  # fmt: skip

    def __init__(self, server: "HttpServer[C]", stream: Stream, client: C) -> None:
        self.stream = stream
        self.client = client
        self._server = server
        self._reader: RequestReader | None = None
        """None until a client sends a request that the server does not know by its bytes."""
        self._behind = b""
        """Received and not yet parsed."""
        self._task: asyncio.Task[None] | None = None
        """Makes an answer that has to wait."""
        self._waits = False
        """Whether requests are left for the event loop's next turn."""
        self._begun = False
        """Whether an answer has begun that `send` continues."""
        self._ended = False
        """Whether the client sends nothing more."""
        self._ending = False
        """Whether the last answer is given."""

    def received(self, data: bytes) -> None:
        """Answer what is complete, unless an earlier answer is under way."""
        if self._task is not None or self._waits or self._ending or self.stream.pending:
            self._behind += data
            if len(self._behind) >= READ_BYTES:
                self.stream.pause()
            return
        reader = self._reader
        if reader is None or not reader.in_request:
            request = self._server.known.get(data)
            if request is not None:
                self._answer(request)
                return
        self._behind = data
        self._go_on()

    def ended(self) -> None:
        """Close, unless an answer is under way that the client can still read."""
        self._ended = True
        under_way = self._task is not None or self._waits or self.stream.pending
        if not under_way or self._gone():
            self.stream.close()

    def flushed(self) -> None:
        """Go on: the client has read the answer."""
        if self._task is None:
            self._answered()
            self._go_on()

    def expired(self) -> None:
        """Close; where a request has begun, say why."""
        reader = self._reader
        if self.stream.pending or self._task is not None:
            self.stream.abort()
        elif reader is not None and reader.in_request:
            self._refuse(reader.malformed(408, "the request took too long to arrive"))
        else:
            self.stream.close()

    def lost(self) -> None:
        """Stop making an answer that nobody will read."""
        self._server.connections.discard(self)
        if self._reader is not None:
            self._reader.close()
        if self._task is not None:
            self._task.cancel()
            # Otherwise both, and all that the answer held, would wait for a garbage collection.
            self._task = None

    def stop(self) -> asyncio.Task[None] | None:
        """Close after the answer that is under way; return its task if it has to wait."""
        if self._task is None:
            self.stream.close()
        return self._task

    async def begin(self, head: bytes, request: Request) -> None:
        """Begin an answer that `send` continues; it ends with the connection."""
        self._begun = True
        coding = answers.CHUNKED if request.minor else b""
        closing = answers.CLOSE + b"\r\n"
        self.stream.write(b"".join((head, self._server.date(), coding, closing)))
        await self.stream.drained()

    async def send(self, part: bytes, request: Request) -> None:
        """Continue an answer, once the client has read the rest of it. Raises ConnectionError."""
        self.stream.write(b"%x\r\n%b\r\n" % (len(part), part) if request.minor else part)
        await self.stream.drained()

    def _read(self, data: bytes) -> None:
        """Read requests from some bytes."""
        if self._reader is None:
            self._reader = RequestReader()
        reader = self._reader
        fresh = not reader.in_request
        reader.feed(data)
        if fresh and len(reader.ready) == 1 and not reader.in_request:
            request = reader.ready[0]
            if isinstance(request, Request) and reader.bodiless:
                self._server.remember(data, request)

    def _go_on(self) -> None:
        """Answer the next request that has arrived, and those behind it in later turns of the loop.

        A client may have sent hundreds at once, and other clients must not wait for all of them.
        """
        stream = self.stream
        self._waits = False
        while self._task is None and not self._ending and not stream.pending and not stream.closed:
            if self._waits:
                asyncio.get_running_loop().call_soon(self._go_on)
                return
            if self._reader is not None and self._reader.ready:
                request = self._reader.ready.popleft()
                if isinstance(request, Malformed):
                    self._refuse(request)
                else:
                    self._answer(request)
                self._waits = bool(self._reader.ready or self._behind)
            elif self._behind:
                piece, self._behind = self._behind[:PIECE_BYTES], self._behind[PIECE_BYTES:]
                self._read(piece)
            else:
                self._await_client()
                return

    def _await_client(self) -> None:
        """Wait for the rest of a request, or for the next one."""
        if self._ended:
            self.stream.close()
            return
        self.stream.resume()
        if self._reader is not None and self._reader.expects_continue:
            self._reader.expects_continue = False
            self.stream.write(answers.CONTINUE)

    def _answer(self, request: Request) -> None:
        try:
            answer = self._server.handler(self, request)
        except Exception as error:  # noqa: BLE001  # one client's bug must not stop the others'
            answer = self._server.bug(error)
        if isinstance(answer, Answer):
            self._give(request, answer)
        else:
            self.stream.busy()
            self._task = asyncio.create_task(self._answer_later(request, answer))

    async def _answer_later(
        self, request: Request, later: Coroutine[Any, Any, Answer | None]
    ) -> None:
        try:
            answer = await later
            if isinstance(answer, LongAnswer):
                self._give(request, answer)
                await answer.send(self.stream)
        except ConnectionError:
            answer = None
        except Exception as error:  # noqa: BLE001  # as above
            answer = self._server.bug(error)
            if self._begun:
                # An end that is missing tells the client that the answer is not complete.
                self.stream.close()
        self._task = None
        if self.stream.closed:
            return
        if answer is None:
            if request.minor and request.method != "HEAD":
                self.stream.write(answers.LAST_CHUNK)
            self._end()
        elif isinstance(answer, LongAnswer):
            self._answered()
        else:
            self._give(request, answer)
        self._go_on()

    def _refuse(self, malformed: Malformed) -> None:
        """Answer bytes that are not a request; nothing can follow."""
        request = Request(malformed.method, path="", keep_alive=False)
        self._give(request, problem(malformed.status, malformed.detail, closes=True))

    def _give(self, request: Request, answer: Answer) -> None:
        server, stream = self._server, self.stream
        closing = answer.closes or not request.keep_alive or server.stopping
        self._ending = closing
        stream.write(answer.to_bytes(request, server.date(), closing=closing))
        if stream.pending or (isinstance(answer, LongAnswer) and not stream.closed):
            stream.idle(_deadline(server.times.answer))
        elif not stream.closed:
            self._answered()

    def _answered(self) -> None:
        """Wait for the next request, or close after the last answer."""
        if self._ending:
            self._end()
        else:
            self.stream.idle(_deadline(self._server.times.request))

    def _end(self) -> None:
        """Close, but let the client read the answer even if it has sent more than was read."""
        reader = self._reader
        self._ending = True
        if self._ended or reader is None or (reader.clean and not self._behind):
            self.stream.close()
        else:
            self._behind = b""
            self.stream.finish()

    def _gone(self) -> bool:
        """Return whether the client has closed, and not only ended what it sends: unix(7)."""
        poll = select.poll()
        poll.register(self.stream.connection, 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def _deadline(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds
