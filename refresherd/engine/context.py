"""What every part of the core is given of the world: time, alarms, luck, and somebody to tell."""

from collections.abc import Callable
from dataclasses import dataclass

from refresherd.engine.ports import Clock, Observer, Schedule


@dataclass(frozen=True, slots=True)
class World:
    """The narrow way in. `luck` returns a random number in [0, 1)."""

    clock: Clock
    schedule: Schedule
    observer: Observer
    luck: Callable[[], float]
