"""The HTTP listener on TCP: metrics, liveness and readiness, never a token."""

import asyncio
import errno
import json
import os
import socket
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from aiohttp import web

from refresherd.domain import readiness
from refresherd.domain.errors import RefresherdError
from refresherd.domain.readiness import AppStatus
from refresherd.engine.ports import Clock, Roster
from refresherd.host.keyed_executor import KeyedExecutor

IDLE_SECONDS = 30.0
"""A connection without a request, new or not, is closed after this time."""

UNREAD_SECONDS = 30.0
"""A client that reads nothing for this long is cut off, or its answer would stay in memory."""

STOP_SECONDS = 0.2
"""aiohttp waits twice this long for answers in progress before it cuts them off."""

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

_REASONS = {
    errno.EADDRINUSE: "the address is in use; end the other process, or write another port under "
    "listen in [http]",
    errno.EACCES: "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)",
    errno.EADDRNOTAVAIL: "this host has no such address; write one that it has, such as 127.0.0.1",
    errno.EAFNOSUPPORT: "this host has no IPv6; write an IPv4 address, such as 127.0.0.1",
}

_UNKNOWN_NAME = "this host does not know the name; write an address, such as 127.0.0.1"

Render: TypeAlias = Callable[[str], tuple[str, Iterable[bytes]]]
"""Takes an Accept header; returns a content type, and the metrics' text in pieces."""


class HttpListener:
    """Serves the pages on each address of `listen`, pairs of host and port.

    `render` and the roster's `statuses` are called in a thread: they are slow at ten thousand apps.
    """

    def __init__(  # noqa: PLR0913  # the last two have defaults
        self,
        listen: Iterable[tuple[str, int]],
        render: Render,
        roster: Roster,
        clock: Clock,
        *,
        idle_time: float = IDLE_SECONDS,
        unread_time: float = UNREAD_SECONDS,
    ) -> None:
        self._listen = tuple(listen)
        self._unread_time = unread_time
        self._sockets: list[socket.socket] = []
        self._render = render
        self._roster = roster
        self._clock = clock
        self._executor = KeyedExecutor()
        self._scrapes: dict[tuple[str, bool], asyncio.Task[tuple[str, bytes]]] = {}
        application = web.Application()
        application.router.add_get("/", _index)
        application.router.add_get("/livez", _livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/readyz/{app:.+}", self._readyz_app)
        application.router.add_get("/metrics", self._metrics)
        application.on_response_prepare.append(_add_headers)
        application.on_shutdown.append(self._cancel_scrapes)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=idle_time,
            shutdown_timeout=STOP_SECONDS,
        )

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """The addresses on which it listens, with the ports that the kernel chose for 0."""
        return tuple(bound.getsockname()[:2] for bound in self._sockets)

    async def start(self) -> None:
        """Listen on every address, or on none.

        Raises RefresherdError, which names the address on which it cannot listen.
        """
        try:
            for host, port in self._listen:
                self._sockets.append(_bind(host, port, self._unread_time))
        except RefresherdError:
            await self.stop()
            raise
        await self._runner.setup()
        for bound in self._sockets:
            await web.SockSite(self._runner, bound).start()

    async def stop(self) -> None:
        """Stop listening, and cut off clients that have no answer within a second."""
        connections = self._runner.server.connections if self._runner.server else []
        transports = [connection.transport for connection in connections]
        await self._runner.cleanup()
        for transport in transports:
            if transport is not None:
                # aiohttp has closed it, but waits for a client that may never read the rest.
                transport.abort()
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = ", ".join(request.headers.getall("Accept", ()))
        codings = request.headers.get("Accept-Encoding", "").lower().split(",")
        gzip = "gzip" in (coding.partition(";")[0].strip() for coding in codings)
        key = accept, gzip
        # Concurrent requests for the same format share one rendering.
        scrape = self._scrapes.get(key)
        if scrape is None:
            call = self._executor.call("metrics", partial(self._scrape, accept, gzip=gzip))
            scrape = self._scrapes[key] = asyncio.create_task(call)
            scrape.add_done_callback(lambda _: self._scrapes.pop(key))
        content_type, body = await asyncio.shield(scrape)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    def _scrape(self, accept: str, *, gzip: bool) -> tuple[str, bytes]:
        """Return the content type and the text of the metrics. Runs in a thread."""
        content_type, pieces = self._render(accept)
        compressor = zlib.compressobj(zlib.Z_BEST_SPEED, wbits=GZIP_BITS)
        body = []
        for piece in pieces:
            body.append(compressor.compress(piece) if gzip else piece)
            # Let the event loop run; otherwise each of its turns would wait 5 ms for this thread.
            os.sched_yield()
        if gzip:
            body.append(compressor.flush())
        return content_type, b"".join(body)

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


def _bind(host: str, port: int, unread_time: float) -> socket.socket:
    """Return a listening socket; `::` stands for all IPv6 addresses, and for no IPv4 address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        number = error.errno or 0
        # The numbers of getaddrinfo(3) are negative, and create_server() lengthens the texts.
        reason = _UNKNOWN_NAME if number < 0 else _REASONS.get(number, os.strerror(number))
        raise RefresherdError(f"cannot listen on {address_text(host, port)}: {reason}") from error
    # Accepted sockets inherit it; it covers a client whose window is closed as well (tcp(7)).
    milliseconds = int(unread_time * 1000)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listening


def address_text(host: str, port: int) -> str:
    """Return an address as a URL spells it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _index(_: web.Request) -> web.Response:
    policy = {"Content-Security-Policy": "default-src 'none'"}
    return web.Response(text=INDEX, content_type="text/html", headers=policy)


async def _livez(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


def _json(text: str, status: int) -> web.Response:
    return web.json_response(text=text + "\n", status=status)
