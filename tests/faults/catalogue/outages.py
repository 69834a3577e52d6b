"""Faults of connections to DSM: refused, reset, hanging, slow, answered out of order."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from faults.rig import wires
from faults.rig.fault import LONG, Fault, Length, Setting, gated, nothing
from faults.rig.gate import Trouble
from faults.rig.reasons import BAD_RESPONSE, CONNECT, SERVER_ERROR, THROTTLED, TIMEOUT
from faults.rig.replies import pages
from faults.rig.scene import Scene
from faults.rig.timing import LIFETIME

RESTARTING = Length("brief", 0.1 * LIFETIME, within_budget=True)
"""Without the restart itself, which takes a while on a busy machine."""

FLAPPING = Length("flapping", 20.0)

FLAPS = (
    wires.RESET_AT_ACCEPT,
    wires.RESET_AFTER_REQUEST,
    wires.RESET_IN_BODY,
    wires.HANG_AFTER_REQUEST,
    wires.HANG_IN_HEAD,
    pages(500, 502, 503, 429),
)


@asynccontextmanager
async def refused(scene: Scene) -> AsyncIterator[None]:
    """Stop listening on DSM's port."""
    scene.gate.close()
    yield
    await scene.gate.open()


@asynccontextmanager
async def _swallowed(scene: Scene) -> AsyncIterator[None]:
    """Accept nothing: a listener whose queue is full drops new connections (listen(2))."""
    scene.gate.close()
    place = (scene.gate.address, scene.gate.port)
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(place, backlog=0))
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield
    await scene.gate.open()


@asynccontextmanager
async def _restarted(scene: Scene) -> AsyncIterator[None]:
    scene.gate.close()
    await scene.daemon.stop()
    await scene.daemon.start()
    await scene.daemon.listening()
    yield
    await scene.gate.open()


@asynccontextmanager
async def _flapping(scene: Scene) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        flaps = tasks.create_task(_flap(scene))
        yield
        flaps.cancel()


async def _flap(scene: Scene) -> None:
    rng = random.Random(scene.name)  # noqa: S311  # reproducible, not secret
    while True:
        with scene.gate.troubled(rng.choice(FLAPS)):
            await asyncio.sleep(rng.uniform(0.1, 1.5))
        await asyncio.sleep(rng.uniform(0.1, 1.5))


def _wire(name: str, breaks: str, trouble: Trouble, reasons: frozenset[str]) -> Fault:
    return Fault(name, breaks, gated(trouble), reasons)


FAULTS = (
    Fault("refused", "nobody listens on DSM's port", refused, CONNECT),
    _wire("reset-at-accept", "the connection is reset", wires.RESET_AT_ACCEPT, CONNECT),
    _wire("reset-after-request", "a request is reset", wires.RESET_AFTER_REQUEST, CONNECT),
    _wire("reset-in-head", "an answer is reset in its head", wires.RESET_IN_HEAD, CONNECT),
    _wire("reset-in-body", "an answer is reset in its body", wires.RESET_IN_BODY, BAD_RESPONSE),
    Fault("hang-at-connect", "nobody accepts a connection", _swallowed, TIMEOUT),
    _wire("hang-at-accept", "nobody reads a request", wires.HANG_AT_ACCEPT, TIMEOUT),
    _wire("hang-after-request", "nobody answers", wires.HANG_AFTER_REQUEST, TIMEOUT),
    _wire("hang-in-head", "an answer stops in its head", wires.HANG_IN_HEAD, TIMEOUT),
    _wire("hang-in-body", "an answer stops in its body", wires.HANG_IN_BODY, TIMEOUT),
    _wire("closed", "the connection is closed", wires.CLOSED_AFTER_REQUEST, CONNECT),
    _wire("not-http", "another protocol answers", wires.NOT_HTTP, BAD_RESPONSE),
    _wire("drip", "an answer comes at a byte a second", wires.ONE_BYTE_A_SECOND, TIMEOUT),
    _wire("head-endless", "an answer's head has no end", wires.ENDLESS_HEAD, BAD_RESPONSE),
    Fault(
        "restarted",
        "the daemon is restarted while DSM is away",
        _restarted,
        CONNECT,
        Setting(alone=True),
        lengths=(RESTARTING, LONG),
        may_lack_token=True,
        may_cut_connections=True,
    ),
    Fault("slow", "answers take half of the timeout", gated(wires.SLOW)),
    Fault("answer-twice", "each answer comes twice", gated(wires.TWICE)),
    Fault("answer-late", "another answer comes later", gated(wires.AGAIN_LATER)),
    Fault(
        "flapping",
        "DSM comes and goes at random, in many ways",
        _flapping,
        CONNECT | TIMEOUT | BAD_RESPONSE | SERVER_ERROR | THROTTLED,
        lengths=(FLAPPING,),
    ),
    Fault("neighbours", "other apps of the same daemon are in trouble", nothing, lengths=(LONG,)),
)
