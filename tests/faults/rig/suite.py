"""Runs faults: each once, or at random for a given time.

Faults that can share a daemon happen side by side: one daemon for the faults of DSM's side and
one for those of the host's. The others have a daemon each, a few at a time.
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
"""Daemons with a single app that run at a time, beside the shared ones."""

LOADS = 2
"""Faults that load the machine, at a time."""

Programme = Callable[[Fault], Iterator[tuple[Fault, Length]]]
"""Returns the faults that happen on a fault's scene, one after the other."""

Report = Callable[[Verdict], None]


async def run(faults: Sequence[Fault], report: Report) -> None:
    """Let each fault happen for each of its lengths, and report each verdict."""
    gates = {False: asyncio.Semaphore(DAEMONS), True: asyncio.Semaphore(LOADS)}

    async def alone(fault: Fault) -> None:
        async with gates[fault.loads_machine]:
            await _on_one_daemon([fault], once, report)

    shared, others = split_by_daemon(fault for fault in faults if not fault.loads_machine)
    await asyncio.gather(
        *(_on_one_daemon(some, once, report) for some in shared), *map(alone, others)
    )
    await asyncio.gather(*(alone(fault) for fault in faults if fault.loads_machine))


async def soak(faults: Sequence[Fault], seconds: float, rng: Random, report: Report) -> None:
    """Let faults happen at random for `seconds`, and report each verdict."""
    until = time.monotonic() + seconds
    calm = [fault for fault in faults if not fault.loads_machine]
    shared, others = split_by_daemon(calm or faults)

    def at_random(of: Fault) -> Iterator[tuple[Fault, Length]]:
        possible = [fault for some in shared for fault in some if fault.setting == of.setting]
        while time.monotonic() < until:
            fault = rng.choice(possible)
            yield fault, rng.choice(fault.lengths)

    async def alone() -> None:
        while others and time.monotonic() < until:
            await _on_one_daemon([rng.choice(others)], once, report)

    shared_runs = (_on_one_daemon(some, at_random, report) for some in shared)
    await asyncio.gather(*shared_runs, *(alone() for _ in range(DAEMONS)))


def split_by_daemon(faults: Iterable[Fault]) -> tuple[list[list[Fault]], list[Fault]]:
    """Return the faults that share one of two daemons, and those that need a daemon each.

    The daemon for DSM's side may run in a mount namespace, where the host side's mounts are not
    visible.
    """
    faults = list(faults)
    together = [fault for fault in faults if not fault.setting.alone]
    host = [fault for fault in together if fault.setting.disk is not Disk.SHARED]
    dsm = [fault for fault in together if fault.setting.disk is Disk.SHARED]
    return [dsm, host], [fault for fault in faults if fault.setting.alone]


def once(fault: Fault) -> Iterator[tuple[Fault, Length]]:
    """Return each length of a fault, once."""
    return ((fault, length) for length in fault.lengths)


async def _on_one_daemon(faults: Sequence[Fault], programme: Programme, report: Report) -> None:
    """Run one daemon with a scene for each of these faults."""
    if not faults:
        return
    settings = {fault.name: fault.setting for fault in faults}
    with tempfile.TemporaryDirectory(prefix="refresherd-faults-") as made:
        async with stage(settings, Path(made)) as scenes, asyncio.TaskGroup() as plays:

            async def play(of: Fault) -> None:
                for fault, length in programme(of):
                    report(await conclusive(fault, scenes[of.name], length))

            for fault in faults:
                plays.create_task(play(fault))
