"""Faults that no daemon could survive: they prove that the suite notices a broken promise."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from faults.catalogue.outages import refused
from faults.rig.fault import BRIEF, LONG, Fault
from faults.rig.reasons import CONNECT, TLS
from faults.rig.scene import Scene


@asynccontextmanager
async def _torn(scene: Scene) -> AsyncIterator[None]:
    """Let another process write half of the token."""
    scene.file.write_bytes(scene.file.read_bytes()[:40])
    yield


@asynccontextmanager
async def _unannounced(scene: Scene) -> AsyncIterator[None]:
    """End the sessions long before the expiry that DSM announced."""
    scene.dsm.sessions.end_all(scene.app)
    yield


@asynccontextmanager
async def _storm(scene: Scene) -> AsyncIterator[None]:
    """Let another process flood DSM with requests."""
    for _ in range(60):
        _, writer = await asyncio.open_connection("127.0.0.1", scene.gate.port)
        writer.write(b"POST /sys/v1/session/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
    yield


@asynccontextmanager
async def _hoarding(scene: Scene) -> AsyncIterator[None]:
    """Let another process open sessions and end none."""
    for _ in range(10):
        scene.dsm.sessions.open(scene.app)
    yield


IMPOSSIBLE = {
    "an expired token was handed out": Fault(
        "impossible-dead", "sessions that end early", _unannounced, lengths=(BRIEF,)
    ),
    "a consumer had no token within the budget": Fault(
        "impossible-outage",
        "an outage beyond the budget that is declared to be within it",
        refused,
        CONNECT,
        lengths=(replace(LONG, within_budget=True),),
    ),
    "a torn token was read": Fault("impossible-torn", "half a token", _torn, lengths=(BRIEF,)),
    "attempts were not bounded by the backoff": Fault(
        "impossible-storm", "a flood of requests", _storm, lengths=(BRIEF,)
    ),
    "sessions alive": Fault(
        "impossible-hoard", "sessions that pile up", _hoarding, lengths=(BRIEF,)
    ),
    "failures for other reasons": Fault(
        "impossible-silence",
        "an outage for which no attempt may fail",
        refused,
        TLS,
        lengths=(BRIEF,),
    ),
    "it did not recover in time": Fault(
        "impossible-haste",
        "an outage whose recovery is given no time",
        refused,
        CONNECT,
        lengths=(BRIEF,),
        recovery=0.0,
    ),
    "the log does not mention it": Fault(
        "impossible-mute",
        "an outage that must be logged under another name",
        refused,
        CONNECT,
        lengths=(BRIEF,),
        logs="outage",
    ),
}
"""The faults by the complaint that each must cause."""
