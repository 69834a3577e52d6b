"""What answers consist of: tokens, statuses and problems, with their headers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from math import floor
from types import MappingProxyType
from typing import Any

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from refresherd.domain import formats, readiness, timing
from refresherd.domain.formats import render_token
from refresherd.domain.model import App, Format, Instant, Token
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import NEVER
from refresherd.engine.ports import Clock

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

MAX_CACHED = 1024
"""Renderings kept for apps that are asked for again and again, half a kilobyte each."""


def _headers(content_type: str) -> CIMultiDictProxy[str]:
    # aiohttp copies this type of mapping at a fifth of the cost of a dict.
    named = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": "refresherd"}
    return CIMultiDictProxy(CIMultiDict(named))


TOKEN_HEADERS: Mapping[Format, CIMultiDictProxy[str]] = MappingProxyType(
    {form: _headers(JSON if form is Format.JSON else TEXT) for form in Format}
)
STATUS_HEADERS = _headers(JSON)
WATCH_HEADERS = _headers("application/x-ndjson")
PROBLEM_HEADERS = _headers("application/problem+json")


@dataclass(frozen=True, slots=True, repr=False)
class _Rendering:
    token: Token
    expires_in: int
    content: bytes


class Renderings:
    """Renders tokens; requests within the same second of a token's life share the bytes."""

    def __init__(self, clock: Clock, max_cached: int = MAX_CACHED) -> None:
        self._clock = clock
        self._max_cached = max_cached
        self._cached: dict[tuple[str, Format], _Rendering] = {}

    def of(self, app: App, token: Token, form: Format) -> bytes:
        """Return the token in a format; `expires_in` counts from now."""
        now = self._clock.now()
        expires_in = floor(token.expires_at - now)
        key = app.name, form
        cached = self._cached.get(key)
        if cached is not None and cached.token is token and cached.expires_in == expires_in:
            return cached.content
        content = render_token(app, token, form, now, self._clock.wall)
        if len(self._cached) >= self._max_cached:
            self._cached.clear()
        self._cached[key] = _Rendering(token, expires_in, content)
        return content


def status_fields(app: App, status: AppStatus, now: Instant, offset: float) -> dict[str, Any]:
    """Return an app's status as JSON shows it, without the token; null stands for "none".

    `offset` turns an instant into unix seconds. It is the same for all dates of an answer, so
    that equal instants have equal dates.
    `expires_at` stays when the token has expired: `state` says so. `last_error` is null once an
    attempt has succeeded.
    """

    def date(instant: Instant | None) -> str | None:
        if instant is None or instant == NEVER:
            return None
        return formats.timestamp(instant + offset)

    session = status.session
    token, failure = session.token, session.last_failure
    reasons = readiness.reasons(status, now)
    budget = None if token is None else timing.outage_budget(token.lifetime, app.timing)
    return {
        "name": status.name,
        "state": session.state.value,
        "ready": not reasons,
        "not_ready_because": list(reasons),
        "expires_at": date(None if token is None else token.expires_at),
        "issued_at": date(None if token is None else token.issued_at),
        "next_refresh_at": date(session.next_attempt_at),
        "last_refresh_success_at": date(session.last_success_at),
        "generation": session.generation,
        "consecutive_failures": session.failures,
        "last_error": None if failure is None else f"{failure.reason}: {failure.message}",
        "last_error_at": date(None if failure is None else failure.at),
        "outage_budget_seconds": None if budget is None else round(budget, 3),
        "endpoint": app.endpoint.url,
        "outputs": [
            {
                "path": output.name,
                "current": output.holds is not None and output.holds == token,
                "written_at": date(output.written_at),
                "error": output.error or None,
            }
            for output in status.outputs
        ],
    }


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: str
) -> web.Response:
    """Return a problem as RFC 9457 defines it; `members` are added to the standard ones."""
    body = _problem_body(status, detail, **members)
    return web.Response(status=status, body=body, headers={**PROBLEM_HEADERS, **(headers or {})})


def raw_problem(status: int, detail: str, retry_after: int) -> bytes:
    """Return a whole HTTP answer, for a client whose request is not read."""
    body = _problem_body(status, detail)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in PROBLEM_HEADERS.items())
        + f"Retry-After: {retry_after}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _problem_body(status: int, detail: str, **members: str) -> bytes:
    title = HTTPStatus(status).phrase
    fields = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return json.dumps(fields).encode() + b"\n"
