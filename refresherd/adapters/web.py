"""The HTTP listener on TCP: metrics, liveness and readiness, never a token."""

import asyncio
import errno
import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from aiohttp import web

from refresherd.domain import readiness
from refresherd.domain.errors import RefresherdError
from refresherd.domain.negotiation import prefers_gzip
from refresherd.domain.readiness import AppStatus
from refresherd.engine.ports import Clock, Roster
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.shared_rendering import ANSWER_SECONDS, CompressedText, SharedRendering

IDLE_SECONDS = 30.0
"""A connection without a request, new or not, is closed after this time."""

UNREAD_SECONDS = 30.0
"""A client that neither reads nor sends anything for this long is cut off."""

STOP_SECONDS = 0.2
"""aiohttp waits twice this long for answers in progress before it cuts them off."""

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


class Exposition(Protocol):
    """The metrics, in a few formats."""

    def content_type(self, accept: str) -> str:
        """Return the content type of the format that an Accept header prefers."""

    def render(self, content_type: str) -> Iterable[bytes]:
        """Return the metrics in a format, in pieces."""


class HttpListener:
    """Serves the pages on each address of `listen`, pairs of host and port.

    `render` of the exposition and `statuses` of the roster are called in a thread: they are slow
    at ten thousand apps.
    """

    def __init__(  # noqa: PLR0913  # the last three have defaults
        self,
        listen: Iterable[tuple[str, int]],
        exposition: Exposition,
        roster: Roster,
        clock: Clock,
        *,
        idle_time: float = IDLE_SECONDS,
        unread_time: float = UNREAD_SECONDS,
        answer_time: float = ANSWER_SECONDS,
    ) -> None:
        self._listen = tuple(listen)
        self._unread_time = unread_time
        self._answer_time = answer_time
        self._sockets: list[socket.socket] = []
        self._exposition = exposition
        self._roster = roster
        self._clock = clock
        self._executor = KeyedExecutor()
        self._scrapes: dict[str, SharedRendering[CompressedText]] = {}
        """By content type."""
        self._readiness = SharedRendering("readyz", self._all_ready, self._executor, clock)
        application = web.Application()
        application.router.add_get("/", _index)
        application.router.add_get("/livez", _livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/readyz/{app:.+}", self._readyz_app)
        application.router.add_get("/metrics", self._metrics)
        application.on_response_prepare.append(_add_headers)
        application.on_shutdown.append(self._abandon_renderings)
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

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        content_type = self._exposition.content_type(_field(request, "Accept"))
        scrape = self._scrapes.get(content_type)
        if scrape is None:
            scrape = self._scrapes[content_type] = SharedRendering(
                "metrics",
                lambda: CompressedText(self._exposition.render(content_type)),
                self._executor,
                self._clock,
            )
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        return await self._send(request, 200, headers, await scrape.get())

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        status, text = await self._readiness.get()
        headers = {"Content-Type": "application/json; charset=utf-8", "Vary": "Accept-Encoding"}
        return await self._send(request, status, headers, text)

    async def _send(
        self, request: web.Request, status: int, headers: dict[str, str], text: CompressedText
    ) -> web.StreamResponse:
        """Send a text that others read as well, no faster than the client reads it."""
        if prefers_gzip(_field(request, "Accept-Encoding")):
            headers["Content-Encoding"] = "gzip"
            length, parts = text.compressed_length, text.compressed()
        else:
            length, parts = text.length, text.plain()
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = length
        with suppress(ConnectionError):
            await response.prepare(request)
            if request.method != "HEAD" and request.transport is not None:
                await self._write(request, request.transport, response, parts)
        return response

    async def _write(
        self,
        request: web.Request,
        transport: asyncio.WriteTransport,
        response: web.StreamResponse,
        parts: Iterable[bytes],
    ) -> None:
        # Otherwise 64 KiB for each client.
        transport.set_write_buffer_limits(0)
        try:
            async with asyncio.timeout(self._answer_time):
                for part in parts:
                    await response.write(part)
                    await request.writer.drain()
                    # The kernel's buffers may take megabytes at once, from hundreds of clients.
                    await asyncio.sleep(0)
        except TimeoutError:
            transport.abort()

    async def _readyz_app(self, request: web.Request) -> web.Response:
        name = request.match_info["app"]
        status = self._roster.status(name)
        if status is None:
            return _json(json.dumps({"error": f"there is no app named {name!r}"}), 404)
        return _json(*self._verdict((status,)))

    def _all_ready(self) -> tuple[int, CompressedText]:
        text, status = self._verdict(self._roster.statuses())
        return status, CompressedText((text.encode() + b"\n",))

    def _verdict(self, statuses: Iterable[AppStatus]) -> tuple[str, int]:
        now = self._clock.now()
        reasons = {status.name: readiness.reasons(status, now) for status in statuses}
        unready = {app: why for app, why in reasons.items() if why}
        text = json.dumps({"ready": not unready, "apps": unready})
        return text, 503 if unready else 200

    async def _abandon_renderings(self, _: web.Application) -> None:
        self._readiness.close()
        for scrape in self._scrapes.values():
            scrape.close()


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


def _field(request: web.Request, name: str) -> str:
    """Return all values of a header field as one, "" if there is none."""
    return ", ".join(request.headers.getall(name, ()))
