"""What every part of the core is given of the world: time, alarms, luck, and somebody to tell."""

from collections.abc import Callable
from dataclasses import dataclass

from refresherd.engine.ports import Clock, Observer, Schedule


@dataclass(frozen=True, slots=True)
class Context:
    """The narrow way in. `rng` returns a random number in [0, 1)."""

    clock: Clock
    schedule: Schedule
    observer: Observer
    rng: Callable[[], float]
