"""An accepted connection on the event loop: bounded buffers, one deadline, no transport.

asyncio's transports cost a new connection a task and three turns of the loop before its first byte
is read, and they buffer without a bound what a client does not read.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Protocol, TypeAlias

from refresherd.domain.connection_quota import Rank, User
from refresherd.host.dialogue import Dialogue, Lingering

READ_BYTES = 16384
"""Read at once; this bounds what is buffered of a client's requests as well."""

FIRST_LOOKS = 3
"""Turns of the loop in which a new connection is read before the loop is asked to watch it: most
clients send at once, and to begin and end a watch costs more than a read."""

MAX_THROWN_AWAY = 65536

SMALLEST_BUFFER = 1
"""Bytes; the kernel raises it to its minimum, about two tokens: socket(7)."""

HOT_SECONDS = 0.0005
"""A client that sends again within this time is likely to go on like that."""

LINGER_SECONDS = 1.0
"""How long after its last answer a client may go on sending; it is thrown away. If it were left
unread, the kernel would throw away the answer as well."""


class Place(Protocol):
    """A connection's place among all others."""

    def busy(self, stream: "Stream") -> None:
        """Prefer others when one has to be closed: this connection waits for the daemon."""

    def idle(self, stream: "Stream") -> None:
        """Prefer the connection when one has to be closed: it waits for its client."""

    def leave(self, stream: "Stream") -> None:
        """Free the place."""

    def awake(self, now: float) -> None:
        """Keep the event loop from sleeping for a moment: a client is likely to ask again."""


class Stream:
    """A non-blocking connection."""

    __slots__ = (
        "_dialogue", "_looks", "_loop", "_paused", "_place", "_read_at", "_unsent", "_waiter",
        "_watched", "closed", "connection", "deadline", "rank", "user",
    )  # fmt: skip

    def __init__(self, connection: socket.SocketType, user: User, rank: Rank, place: Place) -> None:
        self.connection = connection
        self.user = user
        self.rank = rank
        self.deadline = inf
        """When `Dialogue.expired` is called, in the event loop's time."""
        self._place = place
        self._loop = asyncio.get_running_loop()
        self.closed = False
        self._dialogue: Dialogue | None = None
        """None before the start, and again once the connection is closed."""
        self._unsent: memoryview | None = None
        self._watched = self._paused = False
        self._looks = FIRST_LOOKS
        self._read_at = -inf
        self._waiter: asyncio.Future[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether something could not be sent yet, since the client does not read."""
        return self._unsent is not None

    def start(self, dialogue: Dialogue) -> None:
        """Read from now on, and tell the dialogue."""
        self._dialogue = dialogue
        self._look()

    def busy(self) -> None:
        """Note that the client waits for the daemon: there is no deadline."""
        self.deadline = inf
        if not self.closed:
            self._place.busy(self)

    def idle(self, deadline: float) -> None:
        """Note that the daemon waits for the client, until a deadline."""
        self.deadline = deadline
        if not self.closed:
            self._place.idle(self)

    def pause(self) -> None:
        """Read nothing more until `resume`; the kernel soon holds up the client."""
        self._paused = True
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self.connection)

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        if not self._watched and self._dialogue is not None:
            self._watched = True
            self._loop.add_reader(self.connection, self._readable)

    def buffer_little(self) -> None:
        """Have the kernel keep little of what the client does not read."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)

    def write(self, data: bytes) -> None:
        """Send some bytes, and go on sending as the client reads what does not fit at once."""
        if self._unsent is not None:
            self._unsent = memoryview(bytes(self._unsent) + data)
            return
        try:
            sent = self.connection.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:  # the client is gone
            self.close()
            return
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._loop.add_writer(self.connection, self._writable)

    async def drained(self) -> None:
        """Return once all is sent. Raises ConnectionError if the connection is closed before."""
        while self._unsent is not None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._dialogue is None:
            raise ConnectionAbortedError("the client is gone")

    def finish(self) -> None:
        """Send an end of file, and close once the client has closed too, or after a moment.

        Call it when all is sent.
        """
        if self._dialogue is None:
            return
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._dialogue = Lingering(self.close, self._dialogue.lost)
        self.idle(self._loop.time() + LINGER_SECONDS)
        if not self._paused:
            self.resume()

    def end(self) -> None:
        """Send an end of file, and close; what the client has sent is thrown away.

        Call it when all is sent.
        """
        if not self.closed:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_WR)
                # With bytes left unread, closing would reset the connection.
                self.connection.recv(MAX_THROWN_AWAY)
            self.close()

    def expire(self) -> None:
        """Tell the dialogue that the deadline has passed."""
        if self._dialogue is not None:
            self._dialogue.expired()

    def abort(self) -> None:
        """Close at once; what the kernel has still to send is lost as well, and takes no memory."""
        if not self.closed:
            at_once = struct.pack("ii", 1, 0)  # it lingers for 0 seconds: socket(7)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            self.close()

    def close(self) -> None:
        """Close at once; what is unsent is lost."""
        if self.closed:
            return
        self.closed = True
        dialogue, self._dialogue = self._dialogue, None
        self.pause()
        if self._unsent is not None:
            self._unsent = None
            self._loop.remove_writer(self.connection)
        self.connection.close()
        self._place.leave(self)
        self._wake()
        if dialogue is not None:
            dialogue.lost()

    def _look(self) -> None:
        """Read from a new connection, which the loop does not watch yet."""
        if self._dialogue is None or self._paused or self._watched:
            return
        self._looks -= 1
        if self._read() or not self._looks:
            if not self._paused:
                self.resume()
        else:
            self._loop.call_soon(self._look)

    def _readable(self) -> None:
        now = self._loop.time()
        # Where a client asks one question after another, falling asleep and being woken takes
        # longer than an answer.
        if now - self._read_at < HOT_SECONDS:
            self._place.awake(now)
        self._read_at = now
        self._read()

    def _read(self) -> bool:
        """Pass on what the client has sent; return False if there is nothing yet."""
        if self._dialogue is None:
            return True
        try:
            data = self.connection.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self.close()
            return True
        if data:
            self._dialogue.received(data)
        else:
            self.pause()
            self._dialogue.ended()
        return True

    def _writable(self) -> None:
        if self._unsent is None or self._dialogue is None:
            return
        try:
            sent = self.connection.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if sent < len(self._unsent):
            self._unsent = self._unsent[sent:]
            return
        self._unsent = None
        self._loop.remove_writer(self.connection)
        self._wake()
        self._dialogue.flushed()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


NewStream: TypeAlias = Callable[[socket.SocketType, User, Rank, Place], Stream]
"""Makes the stream of a connection."""
