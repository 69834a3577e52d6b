"""The pages by path. No page shows a token."""

import asyncio
import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from aiohttp import web

from refresherd.adapters.web.compression import accepts_gzip, join
from refresherd.domain import readiness
from refresherd.domain.readiness import AppStatus
from refresherd.engine.ports import Clock, Roster
from refresherd.host.keyed_executor import KeyedExecutor

Render: TypeAlias = Callable[[str], tuple[str, Iterable[bytes]]]
"""An Accept header → a content type, and the text of the metrics piece by piece."""

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
    """Answers requests; what takes long at 10,000 apps is worked out in threads of its own."""

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
        application.on_shutdown.append(self._abandon)
        return application

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = ", ".join(request.headers.getall("Accept", ()))
        gzip = accepts_gzip(request.headers.get("Accept-Encoding", ""))
        content_type, body = await self._scrape(accept, gzip=gzip)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    async def _scrape(self, accept: str, *, gzip: bool) -> tuple[str, bytes]:
        """Return the metrics; who asks for the same while they are rendered shares them."""
        key = accept, gzip
        scrape = self._scrapes.get(key)
        if scrape is None:
            call = self._executor.call("metrics", partial(self._render_all, accept, gzip=gzip))
            scrape = self._scrapes[key] = asyncio.create_task(call)
            scrape.add_done_callback(lambda _: self._scrapes.pop(key))
        return await asyncio.shield(scrape)

    def _render_all(self, accept: str, *, gzip: bool) -> tuple[str, bytes]:
        content_type, pieces = self._render(accept)
        return content_type, join(pieces, gzip=gzip)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _json(*await self._executor.call("readyz", self._verdict_on_all))

    def _verdict_on_all(self) -> tuple[str, int]:
        return self._verdict(self._roster.statuses())

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

    async def _abandon(self, _: web.Application) -> None:
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
