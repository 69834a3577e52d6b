"""One trial: a fault happens on a scene and ends, and a verdict says what came of it."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace

from faults.rig.fault import Fault, Length
from faults.rig.readers import Tally
from faults.rig.recorder import Look
from faults.rig.scene import Scene
from faults.verdicts.verdict import Afterwards, Verdict, complaints
from support.not_proven import Stopwatch, used_by_others, waited

READY_WITHIN = 60.0
"""Seconds within which a healthy app has a token, however slow the host."""

TRIES = 4
"""A trial that other load on the machine has spoilt is repeated, up to this many in all."""

CALM_SECONDS = 1.5
"""Seconds for which consumers are watched after the recovery."""

YOUNG, OLD = 0.33, 0.38
"""A fault begins at this share of a session's lifetime, shortly before the refresh is due."""


@dataclass(frozen=True, slots=True)
class Before:
    """All counters at the moment the fault began."""

    at: float
    tally: Tally
    attempts: int
    failures: Counter[str]
    arrivals: int
    looks: int
    issued: int
    lost: int
    logged: int


async def conclusive(fault: Fault, scene: Scene, length: Length) -> Verdict:
    """Let a fault happen, and again where a busy machine spoilt it, up to `TRIES` times."""
    verdict = await trial(fault, scene, length)
    for _ in range(TRIES - 1):
        if verdict.proven:
            break
        verdict = await trial(fault, scene, length)
    return verdict


async def trial(fault: Fault, scene: Scene, length: Length) -> Verdict:
    """Let a fault happen and end; return the verdict."""
    read = used_by_others if fault.loads_machine else waited
    looked, stopwatch = len(scene.record.looks), Stopwatch(read)
    if not await _settled(scene):
        looks = tuple(scene.record.looks[looked:])
        return _without_token(fault, length, looks, stopwatch.pressure())
    before, stopwatch = _before(scene), Stopwatch(read)
    async with fault.during(scene):
        await asyncio.sleep(length.seconds)
    ended = time.time()
    recovery = await scene.until(lambda: _recovered(scene, ended), fault.recovery)
    shown = Counter(scene.tally)
    await asyncio.sleep(CALM_SECONDS)
    verdict = _measured(fault, scene, length, before, recovery)
    verdict = replace(verdict, pressure=stopwatch.pressure())
    afterwards = Afterwards(scene.tally - shown, before.at, before.logged)
    return replace(verdict, complaints=complaints(fault, scene, verdict, afterwards))


async def _settled(scene: Scene) -> bool:
    """Wait until the refresh is about to fall due; return False if that never comes."""

    def due_soon() -> bool:
        return scene.figures.state == "fresh" and YOUNG <= scene.age() <= OLD

    return await scene.until(due_soon, READY_WITHIN) is not None


def _recovered(scene: Scene, since: float) -> bool:
    """Return whether a refresh has succeeded since then (unix seconds) and reached all outputs."""
    figures = scene.figures
    return figures.state == "fresh" and figures.ready and figures.succeeded >= since


def _before(scene: Scene) -> Before:
    figures, record = scene.figures, scene.record
    record.most_alive = 0
    return Before(
        at=time.monotonic(),
        tally=Counter(scene.tally),
        attempts=figures.attempts,
        failures=Counter(figures.failures),
        arrivals=len(scene.gate.arrivals),
        looks=len(record.looks),
        issued=len(scene.dsm.sessions.tokens(scene.app)),
        lost=len(scene.gate.lost),
        logged=scene.daemon.log.stat().st_size,
    )


def _measured(
    fault: Fault, scene: Scene, length: Length, before: Before, recovery: float | None
) -> Verdict:
    issued = len(scene.dsm.sessions.tokens(scene.app)) - before.issued
    return Verdict(
        fault=fault.name,
        length=length.name,
        within_budget=length.within_budget,
        seconds=length.seconds,
        blind=fault.blinds_suite,
        refreshes=issued - (len(scene.gate.lost) - before.lost),
        seen=scene.tally - before.tally,
        attempts=scene.figures.attempts - before.attempts,
        failures=scene.figures.failures - before.failures,
        arrivals=tuple(scene.gate.arrivals[before.arrivals :]),
        looks=tuple(scene.record.looks[before.looks :]),
        recovery=recovery,
    )


def _without_token(
    fault: Fault, length: Length, looks: tuple[Look, ...], pressure: float
) -> Verdict:
    return Verdict(
        fault.name,
        length.name,
        length.within_budget,
        length.seconds,
        looks=looks,
        pressure=pressure,
        complaints=("there was no fresh token before the fault",),
    )
