"""Refusals as problem details: RFC 9457."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import web

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Type": "application/problem+json",
        "Cache-Control": "no-store",
        "Server": "refresherd",
    }
)

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def problem(
    status: int, detail: str, headers: Mapping[str, str] = NO_HEADERS, **members: str
) -> web.Response:
    """Return a refusal. `members` are told beside the standard ones."""
    message = body(status, detail, **members)
    return web.Response(status=status, body=message, headers={**HEADERS, **headers})


def body(status: int, detail: str, **members: str) -> bytes:
    """Return a problem's JSON."""
    title = HTTPStatus(status).phrase
    message = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return json.dumps(message).encode() + b"\n"


def whole_answer(status: int, detail: str, retry_after: int) -> bytes:
    """Return all that goes over the wire to a client whose request is not even read."""
    content = body(status, detail)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        + f"Retry-After: {retry_after}\r\nContent-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + content
