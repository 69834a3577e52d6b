"""What the suite records of each app: attempts, failures and sessions alive at once."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from faults.rig.daemon import Daemon, Figures
from faults.rig.timing import LIFETIME

if TYPE_CHECKING:
    from faults.rig.scene import Scene

LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Look:
    """The number of attempts at some instant between `began` and `ended` (monotonic)."""

    began: float
    ended: float
    attempts: int


@dataclass(slots=True)
class Record:
    """One app's record. `most_alive` leaves out sessions whose token never reached the daemon."""

    looks: list[Look] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)
    most_alive: int = 0


async def recording(daemon: Daemon, scenes: Sequence["Scene"]) -> NoReturn:
    """Look at a daemon and at DSM in a loop, skipping a daemon that is down."""
    while True:
        began = time.monotonic()
        try:
            found = await daemon.figures()
        except OSError:
            found = {}
        ended = time.monotonic()
        for scene in scenes:
            record = scene.record
            record.most_alive = max(record.most_alive, _alive(scene))
            if scene.name in found:
                record.figures = found[scene.name]
                record.looks.append(Look(began, ended, record.figures.attempts))
        await asyncio.sleep(LOOK_SECONDS)


def _alive(scene: "Scene") -> int:
    """Return how many live sessions have a token that reached the daemon."""
    lost = sum(at > time.monotonic() - LIFETIME for at in scene.gate.lost)
    return len(scene.dsm.sessions.live(scene.app)) - lost


def most_in_a_window(arrivals: Sequence[float], seconds: float) -> int:
    """Return the most arrivals in any window of that length."""
    most = first = 0
    for last, arrival in enumerate(arrivals):
        while arrival - arrivals[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def most_between(looks: Sequence[Look], seconds: float) -> int:
    """Return the most attempts between two looks that were certainly within `seconds`."""
    most = first = 0
    for last, look in enumerate(looks):
        while first < last and look.ended - looks[first].began > seconds:
            first += 1
        most = max(most, look.attempts - looks[first].attempts)
    return most
