"""HTTP/1.1 over a Unix socket: send one request, read one response (RFC 9112).

http.client would do, but importing it takes longer than all of `refresherd token`, which
scripts call in loops.
"""

import re
import select
import socket
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from time import monotonic, sleep
from typing import Any

from refresherd import __version__
from refresherd.cli.errors import InvalidResponse

MAX_LINE = 64 * 1024
MAX_HEADERS = 100
MAX_BODY = 64 * 1024 * 1024
"""Bytes. The status of 10,000 apps takes about a tenth of this."""

READ_SIZE = 64 * 1024

CONNECT_RETRY = 0.02
"""Seconds between attempts to connect while the daemon's accept queue is full."""

MAX_MARGIN = 0.5
"""Seconds for the response to arrive after the daemon's own wait has ended."""

POLL = 0.5
"""Seconds between checks for an interrupt while a stream is idle."""

STATUS_LINE = rb"HTTP/1\.[0-9] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n"
HEADER = rb"(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*))?\r?\n"
CHUNK_SIZE = rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n"
LENGTH = r"[0-9]{1,12}"
LINE_END = rb"\r?\n"


class Deadline:
    """When a command must end, however many requests it makes."""

    __slots__ = ("_at", "seconds")

    def __init__(self, seconds: float) -> None:
        self._at = monotonic() + seconds
        self.seconds = seconds
        """The whole time, from the beginning."""

    @property
    def left(self) -> float:
        """Seconds until then, 0 if it is over."""
        return max(0.0, self._at - monotonic())

    @property
    def answer(self) -> float:
        """Seconds that the daemon may take so that its answer, even a refusal, arrives in time."""
        return max(0.0, self.left - min(MAX_MARGIN, self.seconds / 10))

    def demand(self) -> float:
        """Return the seconds left. Raises TimeoutError if there are none."""
        left = self.left
        if not left:
            raise TimeoutError
        return left


def send_request(path: str, method: str, target: str, deadline: Deadline) -> socket.socket:
    """Connect to the socket at `path`, send a request, and return the connection.

    Raises OSError; TimeoutError at the deadline.
    """
    headers = f"Host: refresherd\r\nUser-Agent: refresherd/{__version__}\r\nConnection: close\r\n"
    if method == "POST":
        headers += "Content-Length: 0\r\n"
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(deadline.demand())
        _connect(connection, path, deadline)
        connection.sendall(f"{method} {target} HTTP/1.1\r\n{headers}\r\n".encode("ascii"))
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(connection: socket.socket, path: str, deadline: Deadline) -> None:
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:
            # Linux returns EAGAIN at once for a full accept queue, whatever the socket's timeout.
            deadline.demand()
            sleep(CONNECT_RETRY)


class Stream(socket.SocketIO):
    """Reads a connection until a deadline, and reacts to Ctrl-C within half a second.

    Python handles a signal between two system calls. One that arrives just before a blocking
    read would otherwise wait until the daemon sends something, maybe ten minutes later.
    """

    def __init__(
        self,
        connection: socket.socket,
        deadline: Deadline,
        idle: Callable[[], object] = lambda: None,
    ) -> None:
        """Call `idle` every half a second in which nothing arrives, once there is no deadline."""
        super().__init__(connection, "r")
        self._idle = idle
        self.deadline: Deadline | None = deadline
        """None for no time limit any more."""

    def readinto(self, buffer: Any, /) -> int | None:  # noqa: ANN401  # any buffer; 3.11 has no name for it
        """Read what arrives into the buffer and return the number of bytes; 0 at the end.

        Raises TimeoutError at the deadline.
        """
        while not select.select((self,), (), (), self._patience())[0]:
            if self.deadline is None:
                self._idle()
        return super().readinto(buffer)

    def _patience(self) -> float:
        return POLL if self.deadline is None else min(POLL, self.deadline.demand())


class Response:
    """A response whose status and headers have been read, and whose body has not.

    Reading raises InvalidResponse if the stream is not HTTP/1.1, ConnectionAbortedError if it
    ends early, and whatever the stream itself raises.
    """

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self.status = int(_match_line(STATUS_LINE, stream)[1])
        self.headers = _read_headers(stream)
        """Values by lower-case name."""

    def body(self, limit: int = MAX_BODY) -> bytes:
        """Return the whole body; one of more than `limit` bytes is an InvalidResponse."""
        pieces = []
        left = limit
        for piece in self._pieces():
            left -= len(piece)
            if left < 0:
                raise InvalidResponse(f"the body exceeds {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def lines(self) -> Iterator[bytes]:
        """Yield each complete line of the body, with its newline, as soon as it has arrived."""
        rest = b""
        for piece in self._pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"
            if len(rest) > MAX_LINE:
                raise InvalidResponse(f"a line exceeds {MAX_LINE} bytes")

    def _pieces(self) -> Iterator[bytes]:
        stream, length = self._stream, self.headers.get("content-length")
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(_match_line(CHUNK_SIZE, stream)[1], 16):
                yield from _read_exactly(stream, size)
                _match_line(LINE_END, stream)
            _read_headers(stream)  # the trailers, which nobody here needs
        elif length is None:
            yield from iter(lambda: stream.read1(READ_SIZE), b"")
        elif re.fullmatch(LENGTH, length):
            yield from _read_exactly(stream, int(length))
        else:
            raise InvalidResponse("malformed Content-Length")


def _read_headers(stream: BufferedIOBase) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        header = _match_line(HEADER, stream, "malformed header")
        if header[1] is None:  # the empty line after them
            return headers
        headers[header[1].decode("ascii").lower()] = header[2].decode("latin-1").strip()
    raise InvalidResponse(f"more than {MAX_HEADERS} headers")


def _read_exactly(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read1(min(size, READ_SIZE))
        if not piece:
            raise ConnectionAbortedError("the response ended early")
        size -= len(piece)
        yield piece


def _match_line(
    pattern: bytes, stream: BufferedIOBase, fault: str = "not HTTP/1.1"
) -> re.Match[bytes]:
    line = stream.readline(MAX_LINE)
    if not line.endswith(b"\n"):
        if len(line) < MAX_LINE:
            raise ConnectionAbortedError("the response ended early")
        raise InvalidResponse(f"a line exceeds {MAX_LINE} bytes")
    match = re.fullmatch(pattern, line)
    if match is None:
        raise InvalidResponse(fault)
    return match
