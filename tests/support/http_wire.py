"""HTTP byte by byte: what a client sends as it is, and what it receives, read strictly."""

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

PATIENCE = 20.0
"""Seconds within which a healthy server answers, even on a slow host."""

Address: TypeAlias = Path | tuple[str, int]

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [\t\x20-\x7e]*")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")


class NotHttp(AssertionError):
    """An answer that RFC 9112 does not allow."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as a client reads it."""

    status: int
    fields: dict[str, str]
    """The header fields; their names are in lower case."""
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the answer says that it is the last one."""
        return self.fields.get("connection", "").lower() == "close"


def statuses(found: Iterable[Response]) -> str:
    """Return the statuses in order, as the tables of expected results write them."""
    return " ".join(str(response.status) for response in found)


def connect(address: Address) -> socket.socket:
    """Return a connection to a listener."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET)
    client.settimeout(PATIENCE)
    client.connect(str(address) if isinstance(address, Path) else address)
    return client


def exchange(
    address: Address, *pieces: bytes, methods: Iterable[str] = (), ends: bool = False
) -> list[Response]:
    """Send these pieces, each in a packet of its own, and return all that is received.

    `methods` are those of the requests, which tell whether an answer has a body; GET where there
    are fewer of them than answers. With `ends` the client ends what it sends (shutdown(2)).
    """
    with connect(address) as client:
        if isinstance(address, tuple):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BrokenPipeError, ConnectionResetError):
            # The server may have refused and closed before the last piece.
            for piece in pieces:
                client.sendall(piece)
        if ends:
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
        received = read_all(client)
    return responses(received, methods)


def read_all(client: socket.socket) -> bytes:
    """Return all that is received until the server closes. Raises TimeoutError."""
    received = []
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            received.append(piece)
    return b"".join(received)


def responses(received: bytes, methods: Iterable[str] = ()) -> list[Response]:
    """Return the answers that some bytes consist of. Raises NotHttp."""
    found, left = [], list(methods)
    while received:
        response, received = first_response(received, left[0] if left else "GET")
        if response.status >= 200:
            left = left[1:]
        found.append(response)
    return found


def first_response(received: bytes, method: str = "GET") -> tuple[Response, bytes]:
    """Return the first answer and the bytes behind it. Raises NotHttp, also if it is incomplete."""
    head, separator, rest = received.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    matched = STATUS_LINE.fullmatch(line)
    if not separator or matched is None:
        raise NotHttp(f"no head of an answer: {head[:200]!r}")
    fields: dict[str, str] = {}
    for text in lines:
        pair = FIELD.fullmatch(text)
        if pair is None or pair[1].decode().lower() in fields:
            raise NotHttp(f"not a field, or a second one of its name: {text!r}")
        fields[pair[1].decode().lower()] = pair[2].decode()
    status = int(matched[1])
    body, rest = _body(status, fields, method, rest)
    return Response(status, fields, body), rest


def _body(status: int, fields: dict[str, str], method: str, rest: bytes) -> tuple[bytes, bytes]:
    if method == "HEAD" or status < 200 or status in (204, 304):
        return b"", rest
    if "transfer-encoding" in fields:
        if fields["transfer-encoding"] != "chunked" or "content-length" in fields:
            raise NotHttp(f"ambiguous length: {fields}")
        return _chunked(rest)
    if "content-length" not in fields:
        return rest, b""
    length = int(fields["content-length"])
    if len(rest) < length:
        raise NotHttp(f"{length} bytes were announced, {len(rest)} came")
    return rest[:length], rest[length:]


def _chunked(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if rest[length : length + 2] != b"\r\n":
            raise NotHttp(f"a chunk of {length} bytes has another length")
        body, rest = body + rest[:length], rest[length + 2 :]
        if not length:
            return body, rest
