"""Runs faults: each once, or at random for as long as is wanted.

Those that may share a daemon happen side by side in one for each side; the others have daemons
of their own, a few of them at a time.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

from faults.rig.fault import Disk, Fault, Length
from faults.rig.stage import stage
from faults.rig.trial import conclusive
from faults.verdicts.verdict import Verdict

DAEMONS = 5
"""So many daemons with one app run at a time, beside the one that all others share."""

Programme = Callable[[Fault], Iterator[tuple[Fault, Length]]]
"""What happens on the scene of a fault, one after the other."""

Tell = Callable[[Verdict], None]


async def run(faults: Sequence[Fault], tell: Tell) -> None:
    """Let each fault happen for each of its lengths, and tell what came of it."""
    gate = asyncio.Semaphore(DAEMONS)

    async def alone(fault: Fault) -> None:
        async with gate:
            await _troupe([fault], once, tell)

    shared, others = parted(faults)
    await asyncio.gather(*(_troupe(some, once, tell) for some in shared), *map(alone, others))


async def soak(faults: Sequence[Fault], seconds: float, rand: Random, tell: Tell) -> None:
    """Let faults happen at random for so many seconds, and tell what came of each."""
    until = time.monotonic() + seconds
    shared, others = parted(faults)

    def at_random(of: Fault) -> Iterator[tuple[Fault, Length]]:
        possible = [fault for some in shared for fault in some if fault.setting == of.setting]
        while time.monotonic() < until:
            fault = rand.choice(possible)
            yield fault, rand.choice(fault.lengths)

    async def alone() -> None:
        while others and time.monotonic() < until:
            await _troupe([rand.choice(others)], once, tell)

    troupes = (_troupe(some, at_random, tell) for some in shared)
    await asyncio.gather(*troupes, *(alone() for _ in range(DAEMONS)))


def parted(faults: Iterable[Fault]) -> tuple[list[list[Fault]], list[Fault]]:
    """Return the faults that share one of two daemons, and those that have one to themselves.

    A daemon for DSM's side may have mounts of its own, and would not see those of the host's.
    """
    faults = list(faults)
    together = [fault for fault in faults if not fault.setting.alone]
    host = [fault for fault in together if fault.setting.disk is not Disk.SHARED]
    dsm = [fault for fault in together if fault.setting.disk is Disk.SHARED]
    return [dsm, host], [fault for fault in faults if fault.setting.alone]


def once(fault: Fault) -> Iterator[tuple[Fault, Length]]:
    """Return a fault for each of its lengths."""
    return ((fault, length) for length in fault.lengths)


async def _troupe(faults: Sequence[Fault], programme: Programme, tell: Tell) -> None:
    """Run one daemon, with a scene for each of these faults."""
    if not faults:
        return
    settings = {fault.name: fault.setting for fault in faults}
    with tempfile.TemporaryDirectory(prefix="refresherd-faults-") as made:
        async with stage(settings, Path(made)) as scenes, asyncio.TaskGroup() as acts:

            async def act(of: Fault) -> None:
                for fault, length in programme(of):
                    tell(await conclusive(fault, scenes[of.name], length))

            for fault in faults:
                acts.create_task(act(fault))
