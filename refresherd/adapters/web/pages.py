"""What the HTTP listener answers: the status page, metrics, liveness and readiness."""

import json
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeAlias

from refresherd.adapters.web import status, status_page
from refresherd.adapters.web.recent import Recent
from refresherd.adapters.web.status import Status
from refresherd.adapters.web.view import View
from refresherd.domain import readiness
from refresherd.domain.readiness import AppStatus
from refresherd.engine.ports import Clock, Roster
from refresherd.host.http.answers import Answer
from refresherd.host.http.connection import HttpConnection
from refresherd.host.http.long_answers import LongAnswer
from refresherd.host.http.requests import Request
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.shared_rendering import (
    CompressedText,
    CurrentRendering,
    SharedRendering,
    SharedRenderings,
)

TEXT = "text/plain; charset=utf-8"
JSON = "application/json; charset=utf-8"

SAFE = {"X-Content-Type-Options": "nosniff"}
"""Browsers must not guess another type of content."""

READ = ("GET", "HEAD")

APP_PREFIX = "/readyz/"
ASSETS_PREFIX = "/assets/"

PAGE_FIELDS = {
    **SAFE,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""The page loads nothing from other sites, and no other site may embed it."""

FOREVER = {**SAFE, "Cache-Control": "public, max-age=31536000, immutable"}
"""For files whose path changes with their content."""

HTML = "text/html; charset=utf-8"

PAGE_RESTS = 4.0
"""Each client may want another page. With pauses this many times as long as a page takes, making
pages takes at most a fifth of a processor."""

READINESS_RESTS = 4.0
"""The same for readiness, which is made anew for all clients that have asked since it was made."""

APPS_IN_PIECE = 100

_LIVE = Answer(200, b"ok\n", TEXT, SAFE)
_NOT_FOUND = Answer(404, b"there is nothing at this path; / links to the others\n", TEXT, SAFE)
_NOT_ALLOWED = Answer(
    405, b"this path takes GET and HEAD only\n", TEXT, {**SAFE, "Allow": ", ".join(READ)}
)


class Exposition(Protocol):
    """The metrics, in a few formats."""

    def content_type(self, accept: str) -> str:
        """Return the content type of the format that an Accept header prefers."""

    def render(self, content_type: str) -> Iterable[bytes]:
        """Return the metrics in a format, in pieces."""


Page: TypeAlias = Callable[[Request], Answer | Coroutine[Any, Any, Answer | None]]


class Pages:
    """Answers requests: a Handler for the HTTP server.

    `render` of the exposition and `statuses` of the roster are called in a thread: they are slow
    at ten thousand apps. `fault` returns why the daemon is not doing its work, "" if it is.
    """

    def __init__(  # noqa: PLR0913  # the pages come together here
        self,
        exposition: Exposition,
        roster: Roster,
        recent: Recent,
        executor: KeyedExecutor,
        clock: Clock,
        *,
        fault: Callable[[], str],
    ) -> None:
        self._exposition = exposition
        self._roster = roster
        self._clock = clock
        self._status = Status(roster, recent, clock)
        self._scrapes = SharedRenderings("metrics", self._scraped, executor, clock)
        self._fault = fault
        self._readiness = CurrentRendering(
            "readyz", self._all_ready, executor, clock, rest_times=READINESS_RESTS
        )
        self._status_json = SharedRendering("status.json", self._rendered_status, executor, clock)
        # However many searches wait, nobody waits behind them for the whole page.
        self._front_page = SharedRendering(
            "front page", partial(self._rendered_page, View()), executor, clock
        )
        self._status_pages = SharedRenderings(
            "status page", self._rendered_page, executor, clock, rest_times=PAGE_RESTS
        )
        self._pages: dict[str, Page] = {
            "/": self._status_page,
            "/status.json": self._status_facts,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }

    def handle(
        self,
        connection: HttpConnection[None],  # noqa: ARG002  # a Handler gets it
        request: Request,
    ) -> Answer | Coroutine[Any, Any, Answer | None]:
        """Answer a request."""
        page = self._pages.get(request.path)
        if page is None and request.path.startswith(APP_PREFIX):
            page = partial(self._readyz_app, request.path.removeprefix(APP_PREFIX))
        if page is None and request.path.startswith(ASSETS_PREFIX):
            page = _asset
        if page is None:
            return _NOT_FOUND
        return page(request) if request.method in READ else _NOT_ALLOWED

    def close(self) -> None:
        """Abandon answers that are being made."""
        for rendering in (
            self._readiness,
            self._scrapes,
            self._status_json,
            self._front_page,
            self._status_pages,
        ):
            rendering.close()

    async def _metrics(self, request: Request) -> Answer:
        content_type = self._exposition.content_type(request.field("accept"))
        fields = {**SAFE, "Vary": "Accept, Accept-Encoding"}
        scrape = await self._scrapes.get(content_type)
        return LongAnswer(request, 200, scrape, content_type, fields)

    def _scraped(self, content_type: str) -> CompressedText:
        return CompressedText(self._exposition.render(content_type))

    async def _status_page(self, request: Request) -> Answer:
        view = View.parse(request.query)
        text = await (self._front_page.get() if view == View() else self._status_pages.get(view))
        return LongAnswer(request, 200, text, HTML, PAGE_FIELDS)

    def _rendered_page(self, view: View) -> CompressedText:
        return CompressedText(status_page.render(self._status.snapshot(), view))

    async def _status_facts(self, request: Request) -> Answer:
        return LongAnswer(request, 200, await self._status_json.get(), JSON, SAFE)

    def _rendered_status(self) -> CompressedText:
        return CompressedText(status.rendered(self._status.snapshot()))

    def _livez(self, _: Request) -> Answer:
        fault = self._fault()
        return Answer(503, f"{fault}\n".encode(), TEXT, SAFE) if fault else _LIVE

    async def _readyz(self, request: Request) -> Answer:
        status, text = await self._readiness.get()
        return LongAnswer(request, status, text, JSON, SAFE)

    def _readyz_app(self, name: str, _: Request) -> Answer:
        status = self._roster.status(name)
        if status is None:
            error = {"error": f"there is no app named {name!r}"}
            return Answer(404, json.dumps(error).encode() + b"\n", JSON, SAFE)
        code, pieces = self._verdict((status,))
        return Answer(code, b"".join(pieces), JSON, SAFE)

    def _all_ready(self) -> tuple[int, CompressedText]:
        status, pieces = self._verdict(self._roster.statuses())
        return status, CompressedText(pieces)

    def _verdict(self, statuses: Iterable[AppStatus]) -> tuple[int, Iterator[bytes]]:
        """Return the status code and the body, in pieces, that say whether these apps are ready."""
        now = self._clock.now()
        reasons = {status.name: readiness.reasons(status, now) for status in statuses}
        return 503 if any(reasons.values()) else 200, _verdicts(reasons)


def _verdicts(reasons: Mapping[str, tuple[str, ...]]) -> Iterator[bytes]:
    """Yield every app with the reasons why it is not ready, as JSON."""
    ready = json.dumps(not any(reasons.values()))
    yield f'{{"ready": {ready}, "apps": {{'.encode()
    comma, apps = "", iter(reasons.items())
    while some := dict(islice(apps, APPS_IN_PIECE)):
        yield f"{comma}{json.dumps(some)[1:-1]}".encode()
        comma = ", "
    yield b"}}\n"


def _asset(request: Request) -> Answer:
    name = request.path.removeprefix(status_page.asset_prefix())
    content_type = status_page.ASSETS.get(name)
    if content_type is None:
        return _NOT_FOUND
    return Answer(200, status_page.asset(name), content_type, FOREVER)
