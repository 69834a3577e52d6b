"""A token as an answer's body, and the headers that go with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from types import MappingProxyType

from multidict import CIMultiDict, CIMultiDictProxy

from refresherd.domain.formats import Answer, render
from refresherd.domain.model import App, Format, Token
from refresherd.engine.ports import Clock

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
NDJSON = "application/x-ndjson"

MOST_KEPT = 1024
"""Renderings, half a kilobyte each, of apps that are asked for over and over."""


@dataclass(frozen=True, slots=True, repr=False)
class _Rendering:
    token: Token
    expires_in: int
    content: bytes


def headers(content_type: str) -> CIMultiDictProxy[str]:
    """Return the headers of an answer, the same for all of its kind.

    They are of the kind that aiohttp copies for each response at a fifth of the cost.
    """
    named = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": "refresherd"}
    return CIMultiDictProxy(CIMultiDict(named))


OF_A_TOKEN: Mapping[Format, CIMultiDictProxy[str]] = MappingProxyType(
    {form: headers(JSON if form is Format.JSON else TEXT) for form in Format}
)
OF_A_STATUS = headers(JSON)
OF_A_WATCH = headers(NDJSON)


class Renderings:
    """Renders tokens; who asks within the same second of a token's life gets the same bytes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._newest: dict[tuple[str, Format], _Rendering] = {}

    def of(self, app: App, token: Token, form: Format) -> bytes:
        """Return the bytes for this very moment: `expires_in` counts from now."""
        expires_in = floor(token.expires_at - self._clock.now())
        key = app.name, form
        newest = self._newest.get(key)
        if newest is not None and newest.token is token and newest.expires_in == expires_in:
            return newest.content
        content = render(self._answer(app, token, expires_in), form)
        if len(self._newest) >= MOST_KEPT:
            self._newest.clear()
        self._newest[key] = _Rendering(token, expires_in, content)
        return content

    def _answer(self, app: App, token: Token, expires_in: int) -> Answer:
        return Answer(
            app=app.name,
            access_token=token.access_token.reveal(),
            expires_in=expires_in,
            expires_at=self._clock.wall(token.expires_at),
            issued_at=self._clock.wall(token.issued_at),
            generation=token.generation,
            entity_id=token.entity_id,
            endpoint=app.endpoint.url,
        )
