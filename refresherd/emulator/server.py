"""The HTTP side of the emulated DSM: a request becomes a call, its answer meets the faults."""

import asyncio

from aiohttp import web

from refresherd.emulator.answers import Answer
from refresherd.emulator.delivery import deliver, response_for
from refresherd.emulator.faults import Fault
from refresherd.emulator.operations import ROUTES, Call, Operations, operation_of
from refresherd.emulator.requests import Request
from refresherd.emulator.state import State


class Server:
    """Handles every path but the control endpoint's."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._operations = Operations(state.logins, state.sessions, state.now)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Route DSM's paths here, and all that are left over."""
        for path in ROUTES:
            router.add_route("*", path, self.handle)
        router.add_route("*", "/{rest:.*}", self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request and log it."""
        call = _call_of(request)
        app = self._operations.caller(call)
        fault = self._state.faults.take(call.operation, request.path, app)
        entry = self._entry(request, call)
        entry.app = app.id if app else None
        entry.fault = fault is not None
        self._state.log.add(entry)
        answer = self._answer(call, fault)
        if fault is None:
            entry.status = answer.status
            return response_for(answer, entry.request_id)
        response = await deliver(
            request, answer, fault, request_id=entry.request_id, sleep=self._state.sleep
        )
        if fault.reset != "before":
            entry.status = answer.status
        return response

    def _answer(self, call: Call, fault: Fault | None) -> Answer:
        if fault is not None and fault.replaces_answer:
            return fault.own_answer()
        answer = self._operations.carry_out(call)
        return fault.alter(answer) if fault else answer

    def _entry(self, request: web.Request, call: Call) -> Request:
        return Request(
            time=self._state.now(),
            method=request.method,
            path=request.path,
            operation=call.operation,
            request_id=self._state.random_bytes(16).hex(),
            scheme=call.scheme,
            accept=request.headers.get("Accept"),
            content_type=request.headers.get("Content-Type"),
            content_length=request.content_length,
        )


def _call_of(request: web.Request) -> Call:
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return Call(
        operation_of(request.method, request.path),
        scheme.lower(),
        credential.strip(),
        _certificate_name(request.transport),
    )


def _certificate_name(transport: asyncio.Transport | None) -> str | None:
    """Return the common name of the client certificate that TLS has verified, if there is one."""
    certificate = transport.get_extra_info("peercert") if transport else None
    if not certificate:
        return None
    names = {key: value for part in certificate["subject"] for key, value in part}
    return names.get("commonName")
