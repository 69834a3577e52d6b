"""Brings an answer to the client, well or as badly as a fault wants it."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web

from refresherd.emulator.answers import Answer
from refresherd.emulator.faults import Fault

Sleep = Callable[[float], Awaitable[object]]
"""Waits for so many seconds."""


def response_for(answer: Answer, request_id: str) -> web.Response:
    """Return aiohttp's form of an answer."""
    response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    _label(response, answer, request_id)
    return response


async def deliver(
    request: web.Request, answer: Answer, fault: Fault, *, request_id: str, sleep: Sleep
) -> web.StreamResponse:
    """Answer as the fault wants it; for a hanging fault this never returns."""
    if fault.delay:
        await sleep(fault.delay)
    if fault.hang:
        await asyncio.get_running_loop().create_future()
    if fault.reset == "before":
        return _reset(request)
    if fault.reset == "during" and not answer.body:
        return _reset(request, b"HTTP/1.1 2")
    if fault.reset or fault.drip or fault.truncate is not None:
        return await _write_in_parts(request, answer, fault, request_id=request_id, sleep=sleep)
    return response_for(answer, request_id)


async def _write_in_parts(
    request: web.Request, answer: Answer, fault: Fault, *, request_id: str, sleep: Sleep
) -> web.StreamResponse:
    """Announce the whole body, then write as much of it and as slowly as the fault lets through."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    _label(response, answer, request_id)
    response.content_length = len(answer.body)
    end = len(answer.body) // 2 if fault.reset else len(answer.body)
    end = end if fault.truncate is None else min(end, fault.truncate)
    if end < len(answer.body):
        response.force_close()
    await response.prepare(request)
    step = 1 if fault.drip else max(end, 1)
    for start in range(0, end, step):
        if fault.drip:
            await sleep(fault.drip)
        await response.write(answer.body[start : start + step])
    return _reset(request) if fault.reset else response


def _label(response: web.StreamResponse, answer: Answer, request_id: str) -> None:
    if answer.content_type:
        response.headers["Content-Type"] = answer.content_type
    response.headers["x-request-id"] = request_id


def _reset(request: web.Request, last_words: bytes = b"") -> web.StreamResponse:
    """Reset the TCP connection; what is returned is never sent, aiohttp only wants a response."""
    transport = request.transport
    if transport is not None:
        transport.write(last_words)
        # A linger of 0 s makes close() send RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    return web.Response()
