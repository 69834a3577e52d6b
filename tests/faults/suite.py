"""Runs faults side by side: those that share a daemon at once, the others beside it."""

import asyncio
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from faults.fault import Fault
from faults.scene import Scene
from faults.stage import stage
from faults.trial import BRIEF, LONG, Length, trial
from faults.verdict import Verdict


async def run(faults: Sequence[Fault]) -> list[Verdict]:
    """Let each fault happen, briefly and for long, and return what came of them."""
    with tempfile.TemporaryDirectory(prefix="refresherd-faults-") as made:
        troupes = [
            _troupe(group, Path(made) / str(number)) for number, group in enumerate(groups(faults))
        ]
        return [verdict for found in await asyncio.gather(*troupes) for verdict in found]


def groups(faults: Iterable[Fault]) -> list[list[Fault]]:
    """Return the faults that share a daemon, and each of the others by itself."""
    faults = list(faults)
    together = [fault for fault in faults if not fault.setting.alone]
    alone = [[fault] for fault in faults if fault.setting.alone]
    return [together, *alone] if together else alone


def lengths(fault: Fault) -> tuple[Length, ...]:
    """Return for how long a fault lasts, each time that it happens."""
    return (BRIEF,) if fault.brief_only else (BRIEF, LONG)


async def _troupe(faults: Sequence[Fault], directory: Path) -> list[Verdict]:
    directory.mkdir()
    settings = {fault.name: fault.setting for fault in faults}
    async with stage(settings, directory) as scenes:
        found = await asyncio.gather(*(_trials(fault, scenes) for fault in faults))
    return [verdict for verdicts in found for verdict in verdicts]


async def _trials(fault: Fault, scenes: Mapping[str, Scene]) -> list[Verdict]:
    return [await trial(fault, scenes[fault.name], length) for length in lengths(fault)]
