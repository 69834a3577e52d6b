"""Tokens as answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from types import MappingProxyType

from refresherd.domain.formats import render_token
from refresherd.domain.model import App, Format, Instant, Token
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
