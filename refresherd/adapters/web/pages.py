"""What the HTTP listener answers: metrics, liveness and readiness."""

import json
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeAlias

from refresherd.domain import readiness
from refresherd.domain.readiness import AppStatus
from refresherd.engine.ports import Clock, Roster
from refresherd.host.http.answers import Answer
from refresherd.host.http.connection import HttpConnection
from refresherd.host.http.long_answers import LongAnswer
from refresherd.host.http.requests import Request
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.shared_rendering import CompressedText, SharedRendering

TEXT = "text/plain; charset=utf-8"
JSON = "application/json; charset=utf-8"

SAFE = {"X-Content-Type-Options": "nosniff"}
"""Browsers must not take an answer for something that it is not."""

READ = ("GET", "HEAD")

APP_PREFIX = "/readyz/"

INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>refresherd</title>
<h1>refresherd</h1>
<ul>
<li><a href="/metrics">metrics</a>
<li><a href="/readyz">readiness</a>
<li><a href="/livez">liveness</a>
</ul>
"""

_INDEX = Answer(
    200,
    INDEX.encode(),
    "text/html; charset=utf-8",
    {**SAFE, "Content-Security-Policy": "default-src 'none'"},
)
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
    at ten thousand apps.
    """

    def __init__(
        self, exposition: Exposition, roster: Roster, executor: KeyedExecutor, clock: Clock
    ) -> None:
        self._exposition = exposition
        self._roster = roster
        self._executor = executor
        self._clock = clock
        self._scrapes: dict[str, SharedRendering[CompressedText]] = {}
        """By content type."""
        self._readiness = SharedRendering("readyz", self._all_ready, executor, clock)
        self._pages: dict[str, Page] = {
            "/": lambda _: _INDEX,
            "/livez": lambda _: _LIVE,
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
        if page is None:
            return _NOT_FOUND
        return page(request) if request.method in READ else _NOT_ALLOWED

    def close(self) -> None:
        """Abandon answers that are being made."""
        self._readiness.close()
        for scrape in self._scrapes.values():
            scrape.close()

    async def _metrics(self, request: Request) -> Answer:
        content_type = self._exposition.content_type(request.field("accept"))
        scrape = self._scrapes.get(content_type)
        if scrape is None:
            scrape = self._scrapes[content_type] = SharedRendering(
                "metrics",
                lambda: CompressedText(self._exposition.render(content_type)),
                self._executor,
                self._clock,
            )
        fields = {**SAFE, "Vary": "Accept, Accept-Encoding"}
        return LongAnswer(request, 200, await scrape.get(), content_type, fields)

    async def _readyz(self, request: Request) -> Answer:
        status, text = await self._readiness.get()
        return LongAnswer(request, status, text, JSON, SAFE)

    def _readyz_app(self, name: str, _: Request) -> Answer:
        status = self._roster.status(name)
        if status is None:
            return _json(404, {"error": f"there is no app named {name!r}"})
        return _json(*self._verdict((status,)))

    def _all_ready(self) -> tuple[int, CompressedText]:
        status, fields = self._verdict(self._roster.statuses())
        return status, CompressedText((_encoded(fields),))

    def _verdict(self, statuses: Iterable[AppStatus]) -> tuple[int, dict[str, object]]:
        """Return the status code and the fields of an answer about these apps."""
        now = self._clock.now()
        reasons = {status.name: readiness.reasons(status, now) for status in statuses}
        unready = {app: why for app, why in reasons.items() if why}
        return 503 if unready else 200, {"ready": not unready, "apps": unready}


def _json(status: int, fields: dict[str, object]) -> Answer:
    return Answer(status, _encoded(fields), JSON, SAFE)


def _encoded(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode() + b"\n"
