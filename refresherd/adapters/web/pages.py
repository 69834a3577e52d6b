"""The pages by path. None shows a token."""

import asyncio
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeAlias

from aiohttp import web

from refresherd.domain import readiness
from refresherd.domain.readiness import AppStatus
from refresherd.engine.ports import Clock, Roster
from refresherd.host.keyed_executor import KeyedExecutor

Render: TypeAlias = Callable[[str], tuple[str, Iterable[bytes]]]
"""Takes an Accept header; returns a content type, and the metrics' text in pieces."""

FASTEST = 1
GZIP_BITS = 31
"""zlib's largest window, in gzip's format."""

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


class Pages:
    """Answers requests. Work that is long at ten thousand apps is done in threads."""

    def __init__(self, render: Render, roster: Roster, clock: Clock) -> None:
        self._render = render
        self._roster = roster
        self._clock = clock
        self._executor = KeyedExecutor()
        self._scrapes: dict[tuple[str, bool], asyncio.Task[tuple[str, bytes]]] = {}

    def application(self) -> web.Application:
        """Return the pages as an aiohttp application."""
        application = web.Application()
        application.router.add_get("/", _index)
        application.router.add_get("/livez", _livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/readyz/{app:.+}", self._readyz_app)
        application.router.add_get("/metrics", self._metrics)
        application.on_response_prepare.append(_add_headers)
        application.on_shutdown.append(self._cancel_scrapes)
        return application

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = ", ".join(request.headers.getall("Accept", ()))
        gzip = _accepts_gzip(request.headers.get("Accept-Encoding", ""))
        content_type, body = await self._scrape(accept, gzip=gzip)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    async def _scrape(self, accept: str, *, gzip: bool) -> tuple[str, bytes]:
        """Return the metrics; concurrent requests for the same format share one rendering."""
        key = accept, gzip
        scrape = self._scrapes.get(key)
        if scrape is None:
            call = self._executor.call("metrics", partial(self._render_all, accept, gzip=gzip))
            scrape = self._scrapes[key] = asyncio.create_task(call)
            scrape.add_done_callback(lambda _: self._scrapes.pop(key))
        return await asyncio.shield(scrape)

    def _render_all(self, accept: str, *, gzip: bool) -> tuple[str, bytes]:
        content_type, pieces = self._render(accept)
        return content_type, b"".join(_yielding(_compressed(pieces) if gzip else pieces))

    async def _readyz(self, _: web.Request) -> web.Response:
        verdict = self._executor.call("readyz", lambda: self._verdict(self._roster.statuses()))
        return _json(*await verdict)

    async def _readyz_app(self, request: web.Request) -> web.Response:
        name = request.match_info["app"]
        status = self._roster.status(name)
        if status is None:
            return _json(json.dumps({"error": f"there is no app named {name!r}"}), 404)
        return _json(*self._verdict((status,)))

    def _verdict(self, statuses: Iterable[AppStatus]) -> tuple[str, int]:
        now = self._clock.now()
        reasons = {status.name: readiness.reasons(status, now) for status in statuses}
        unready = {app: why for app, why in reasons.items() if why}
        text = json.dumps({"ready": not unready, "apps": unready})
        return text, 503 if unready else 200

    async def _cancel_scrapes(self, _: web.Application) -> None:
        for scrape in self._scrapes.values():
            scrape.cancel()


async def _index(_: web.Request) -> web.Response:
    policy = {"Content-Security-Policy": "default-src 'none'"}
    return web.Response(text=INDEX, content_type="text/html", headers=policy)


async def _livez(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


def _json(text: str, status: int) -> web.Response:
    return web.Response(text=text + "\n", status=status, content_type="application/json")


def _accepts_gzip(accept_encoding: str) -> bool:
    codings = (part.partition(";")[0].strip() for part in accept_encoding.lower().split(","))
    return "gzip" in codings


def _compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(FASTEST, wbits=GZIP_BITS)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


def _yielding(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pass the pieces on, and offer the event loop a turn after each.

    The interpreter would make the loop wait 5 ms for each of its turns.
    """
    for piece in pieces:
        yield piece
        os.sched_yield()
