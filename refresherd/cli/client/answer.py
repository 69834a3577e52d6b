"""An HTTP/1.1 answer, read from a stream: as much of RFC 9112 as a server may use in one.

http.client could do it, but takes longer to import than `refresherd token` takes
altogether, and that is run in loops.
"""

import re
from collections.abc import Iterator
from io import BufferedIOBase

from refresherd.cli.client.failures import Unintelligible

LONGEST_LINE = 64 * 1024
MOST_HEADERS = 100
LONGEST_BODY = 64 * 1024 * 1024
"""Bytes; the status of 10,000 apps is about a tenth of it."""

PIECE = 64 * 1024

STATUS_LINE = rb"HTTP/1\.[0-9] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n"
HEADER = rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)\r?\n"
CHUNK_SIZE = rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n"
LENGTH = r"[0-9]{1,12}"
LINE_END = rb"\r?\n"


class Answer:
    """An answer whose status and headers have been read, and whose body has not.

    `headers` are by lower-case name. Reading raises Unintelligible for what is no HTTP,
    ConnectionAbortedError where the stream ends first, and what the stream itself raises.
    """

    __slots__ = ("_stream", "headers", "status")

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self.status = int(_matched(STATUS_LINE, stream)[1])
        self.headers = _headers(stream)

    def body(self) -> bytes:
        """Return all of the body, 64 MiB at most."""
        pieces = []
        left = LONGEST_BODY
        for piece in self._pieces():
            left -= len(piece)
            if left < 0:
                raise Unintelligible("the answer does not end")
            pieces.append(piece)
        return b"".join(pieces)

    def lines(self) -> Iterator[bytes]:
        """Yield the body's whole lines with their ends, each as soon as it is there."""
        rest = b""
        for piece in self._pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"
            if len(rest) > LONGEST_LINE:
                raise Unintelligible("a line does not end")

    def _pieces(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return _chunks(self._stream)
        length = self.headers.get("content-length")
        if length is None:
            return iter(lambda: self._stream.read1(PIECE), b"")
        if not re.fullmatch(LENGTH, length):
            raise Unintelligible("the answer's length is no number")
        return _exactly(self._stream, int(length))


def _headers(stream: BufferedIOBase) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MOST_HEADERS):
        line = _line(stream)
        if re.fullmatch(LINE_END, line):
            return headers
        header = re.fullmatch(HEADER, line)
        if header is None:
            raise Unintelligible("a header is none")
        headers[header[1].decode("ascii").lower()] = header[2].decode("latin-1").strip()
    raise Unintelligible("the headers do not end")


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    while size := int(_matched(CHUNK_SIZE, stream)[1], 16):
        yield from _exactly(stream, size)
        _matched(LINE_END, stream)
    _headers(stream)


def _exactly(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read1(min(size, PIECE))
        if not piece:
            raise ConnectionAbortedError("the answer ends early")
        size -= len(piece)
        yield piece


def _matched(pattern: bytes, stream: BufferedIOBase) -> re.Match[bytes]:
    match = re.fullmatch(pattern, _line(stream))
    if match is None:
        raise Unintelligible("this is no HTTP/1.1")
    return match


def _line(stream: BufferedIOBase) -> bytes:
    line = stream.readline(LONGEST_LINE)
    if line.endswith(b"\n"):
        return line
    if len(line) == LONGEST_LINE:
        raise Unintelligible("a line does not end")
    raise ConnectionAbortedError("the answer ends early")
