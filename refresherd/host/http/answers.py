"""Answers, whose bytes are made once and sent many times, and problems: RFC 9457."""

import json
from collections.abc import Callable, Mapping
from copy import copy
from email.utils import formatdate
from http import HTTPStatus
from math import inf
from typing import Self

from refresherd.engine.ports import Clock
from refresherd.host.http.requests import Request

PROBLEM = "application/problem+json"

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer:
    """A whole answer. It holds for this moment only, so no cache may keep it."""

    __slots__ = ("_head", "_tail", "closes", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: str,
        fields: Mapping[str, str] | None = None,
        *,
        closes: bool = False,
    ) -> None:
        """Make it; `closes` says that the connection cannot go on."""
        self.status = status
        self.closes = closes
        self._head = head(status, {"Content-Type": content_type, **(fields or {})})
        self._tail = b"Content-Length: %d\r\n\r\n" % len(body), body

    @property
    def body(self) -> bytes:
        """The content."""
        return self._tail[1]

    def with_fields(self, fields: Mapping[str, str]) -> Self:
        """Return it with these header fields, which replace its own of the same names."""
        names = {name.lower().encode() for name in fields}
        lines = self._head.splitlines(keepends=True)
        kept = [line for line in lines if line.partition(b":")[0].lower() not in names]
        changed = copy(self)
        changed._head = b"".join((*kept, _lines(fields)))  # noqa: SLF001  # of the same class
        return changed

    def to_bytes(self, request: Request | None, date: bytes, *, closing: bool) -> bytes:
        """Return what answers a request; `date` is the Date field's line."""
        length, body = self._tail
        if request is None or closing:
            return b"".join((self._head, date, CLOSE, length, b"" if _bare(request) else body))
        if request.minor and request.method != "HEAD":
            return b"".join((self._head, date, length, body))
        kept = b"" if request.minor else KEEP_ALIVE
        return b"".join((self._head, date, kept, length, b"" if _bare(request) else body))


CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def _bare(request: Request | None) -> bool:
    return request is not None and request.method == "HEAD"


def head(status: int, fields: Mapping[str, str]) -> bytes:
    """Return the status line and the fields of an answer, without those of its connection."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return line + _lines({"Server": "refresherd", "Cache-Control": "no-store", **fields})


def _lines(fields: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()


def problem(
    status: int,
    detail: str,
    fields: Mapping[str, str] | None = None,
    *,
    members: Mapping[str, str] | None = None,
    closes: bool = False,
) -> Answer:
    """Return a problem; `members` are added to the standard ones."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body = json.dumps({**content, **(members or {})}).encode() + b"\n"
    return Answer(status, body, PROBLEM, fields, closes=closes)


def dates(clock: Clock) -> Callable[[], bytes]:
    """Return a function that returns the Date field's line, which is made once a second."""
    line, until = b"", -inf

    def date() -> bytes:
        nonlocal line, until
        now = clock.now()
        if now >= until:
            wall = clock.wall(now)
            line, until = f"Date: {formatdate(wall, usegmt=True)}\r\n".encode(), now + 1 - wall % 1
        return line

    return date
