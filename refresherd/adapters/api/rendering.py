"""What answers consist of: tokens and statuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from types import MappingProxyType
from typing import Any

from refresherd.domain import formats, readiness, timing
from refresherd.domain.formats import render_token
from refresherd.domain.model import App, Format, Instant, Token
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import NEVER
from refresherd.engine.ports import Clock
from refresherd.host.http.answers import Answer

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

MAX_CACHED = 1024
"""Renderings kept for apps that are asked for again and again, half a kilobyte each."""


CONTENT_TYPES: Mapping[Format, str] = MappingProxyType(
    {form: JSON if form is Format.JSON else TEXT for form in Format}
)
WATCH = "application/x-ndjson"


@dataclass(frozen=True, slots=True, repr=False)
class _Rendering:
    token: Token
    expires_in: int
    answer: Answer


class Renderings:
    """Renders tokens; requests within the same second of a token's life share the bytes."""

    def __init__(self, clock: Clock, max_cached: int = MAX_CACHED) -> None:
        self._clock = clock
        self._max_cached = max_cached
        self._cached: dict[tuple[str, Format], _Rendering] = {}

    def of(self, app: App, token: Token, form: Format, now: Instant) -> Answer:
        """Return the token in a format as an answer; `expires_in` counts from now."""
        expires_in = floor(token.expires_at - now)
        key = app.name, form
        cached = self._cached.get(key)
        if cached is not None and cached.token is token and cached.expires_in == expires_in:
            return cached.answer
        content = render_token(app, token, form, now, self._clock.wall)
        if len(self._cached) >= self._max_cached:
            self._cached.clear()
        answer = Answer(200, content, CONTENT_TYPES[form])
        self._cached[key] = _Rendering(token, expires_in, answer)
        return answer


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
