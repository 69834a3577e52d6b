"""The emulated DSM over HTTP: requests are logged, carried out, and answered as faults demand."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDict

from refresherd.emulator.dsm import ROUTES, Answer, Call, Dsm
from refresherd.emulator.faults import Fault, Faults

Sleep = Callable[[float], Awaitable[object]]
"""Waits for a number of seconds."""


@dataclass(slots=True, kw_only=True)
class Request:
    """A request in the log, without its credential."""

    time: float
    """Of its arrival, in seconds on the emulator's clock."""
    method: str
    path: str
    operation: str
    request_id: str
    app: str | None
    """The UUID of the app that it concerns."""
    scheme: str
    """Of its Authorization header."""
    accept: str | None
    content_type: str | None
    content_length: int | None
    """As its header says, in bytes."""
    fault: bool
    """Whether a fault applied to it."""
    status: int | None = None
    """None until it is answered, and for good if it never is."""


class RequestLog(deque[Request]):
    """The newest requests, oldest first."""

    def select(self, *, operation: str = "*", app: str = "*", since: float = 0.0) -> list[Request]:
        """Return the requests for an operation, of an app (its UUID), from `since` on."""
        return [
            request
            for request in self
            if operation in ("*", request.operation)
            and app in ("*", request.app)
            and request.time >= since
        ]


@dataclass(frozen=True, slots=True)
class Server:
    """Answers DSM's paths, and with 404 any other."""

    dsm: Dsm
    faults: Faults
    log: RequestLog
    random_bytes: Callable[[int], bytes]
    """Makes request ids."""
    sleep: Sleep
    """Waits for slow faults."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Log one request and answer it."""
        call = _call_of(request, await request.read())
        app = self.dsm.caller(call)
        fault = self.faults.take(call.operation, request.path, app)
        entry = Request(
            time=self.dsm.now(),
            method=request.method,
            path=request.path,
            operation=call.operation,
            request_id=self.random_bytes(16).hex(),
            app=app.id if app else None,
            scheme=call.scheme,
            accept=request.headers.get("Accept"),
            content_type=request.headers.get("Content-Type"),
            content_length=request.content_length,
            fault=fault is not None,
        )
        self.log.append(entry)
        if fault is None:
            fault, answer = Fault(), self.dsm.carry_out(call)
        elif fault.replaces_answer:
            answer = fault.own_answer()
        else:
            answer = fault.alter(self.dsm.carry_out(call))
        response = await self._deliver(request, answer, fault, entry.request_id)
        if fault.reset != "before":
            entry.status = answer.status
        return response

    async def _deliver(
        self, request: web.Request, answer: Answer, fault: Fault, request_id: str
    ) -> web.StreamResponse:
        """Answer as the fault demands; a hanging request stays here until its client leaves."""
        if fault.delay:
            await self.sleep(fault.delay)
        if fault.hang:
            await asyncio.get_running_loop().create_future()
        if fault.reset == "before":
            return _reset(request)
        if fault.reset == "during" and not answer.body:
            return _reset(request, b"HTTP/1.1 2")
        headers = CIMultiDict(answer.headers)
        if answer.content_type:
            headers["Content-Type"] = answer.content_type
        headers["x-request-id"] = request_id
        if not (fault.reset or fault.drip or fault.truncate is not None):
            return web.Response(status=answer.status, body=answer.body, headers=headers)
        # The whole body is announced, but only as much of it sent, and as slowly, as demanded.
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = len(answer.body)
        end = len(answer.body) // 2 if fault.reset else len(answer.body)
        end = end if fault.truncate is None else min(end, fault.truncate)
        if end < len(answer.body):
            response.force_close()
        await response.prepare(request)
        step = 1 if fault.drip else max(end, 1)
        for start in range(0, end, step):
            if fault.drip:
                await self.sleep(fault.drip)
            await response.write(answer.body[start : start + step])
        return _reset(request) if fault.reset else response


def _call_of(request: web.Request, body: bytes) -> Call:
    method, operation = ROUTES.get(request.path, (request.method, "not_found"))
    allowed = ["GET", "HEAD", "OPTIONS"] if method == "GET" else [method, "OPTIONS"]
    if request.path in ROUTES and request.method == "OPTIONS":
        operation = "options"
    elif request.path in ROUTES and request.method not in allowed:
        operation = "not_allowed"
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    certificate = request.transport and request.transport.get_extra_info("peercert")
    names = {key: value for part in (certificate or {}).get("subject", ()) for key, value in part}
    return Call(
        operation=operation,
        scheme=scheme.lower(),
        credential=credential.strip(),
        certificate_name=names.get("commonName"),
        body=body,
        allow=", ".join(allowed),
    )


def _reset(request: web.Request, last_bytes: bytes = b"") -> web.StreamResponse:
    """Reset the TCP connection; aiohttp wants a response, but will not send it."""
    transport = request.transport
    if transport is not None:
        transport.write(last_bytes)
        # With a linger of 0 s, close() sends RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    return web.Response()
