"""A simulated machine: its event loop, its clocks, suspends and steps.

The loop's time passes only when nothing is left to run, so hours take milliseconds, and delays
are exact.
"""

import asyncio
import selectors
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from selectors import SelectorKey

import pytest
from apscheduler.schedulers import base

from refresherd.adapters.scheduling import BootSchedule
from refresherd.domain.model import Instant
from refresherd.engine.ports import Observer
from refresherd.host.clock import JumpDetector, Reading
from support.fakes import RecordingObserver


@dataclass(slots=True)
class Machine:
    """Three clocks, of which only the monotonic one advances by itself.

    `looks` counts how often APScheduler reads the wall clock. If `frozen_at` is set it reads that
    instead, and never finds that anything is due.
    """

    monotonic: float = 1000.0
    slept: float = 50.0
    offset: float = 1_700_000_000.0
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    looks: int = 0
    frozen_at: float | None = None

    @property
    def boot(self) -> float:
        """The boot time."""
        return self.monotonic + self.slept

    def now(self) -> Instant:
        """Return the boot time, as a Clock."""
        return Instant(self.boot)

    def wall(self, instant: Instant) -> float:
        """Return an instant as unix seconds, as a Clock."""
        return instant + self.offset

    def read(self) -> Reading:
        """Read all clocks."""
        return Reading(self.boot, self.monotonic, self.boot + self.offset)

    def suspend(self, seconds: float) -> None:
        """Sleep, and wake up again."""
        self.slept += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        self.offset += seconds

    def block(self, seconds: float) -> None:
        """Hold up the event loop."""
        self.monotonic += seconds

    def schedule(self, observer: Observer | None = None) -> BootSchedule:
        """Return a schedule on this machine, which reports to `observer` if one is given."""
        return BootSchedule(self, observer or self.observer, JumpDetector(self.read).jumps)


class SimulatedSelector(selectors.DefaultSelector):
    """Advances the simulated time instead of waiting."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return what is ready now; if nothing is, advance to the next timer."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything sleeps for ever"
            self._machine.monotonic += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop on a simulated machine."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(SimulatedSelector(machine))
        self._machine = machine

    def time(self) -> float:
        """Return the monotonic time."""
        return self._machine.monotonic


@contextmanager
def wall_clock_of(machine: Machine) -> Iterator[None]:
    """Have APScheduler read the machine's wall clock."""

    class Simulated(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # never a Simulated
            machine.looks += 1
            frozen = machine.frozen_at
            return datetime.fromtimestamp(machine.read().wall if frozen is None else frozen, tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "datetime", Simulated)
        yield


def simulate(machine: Machine, main: Coroutine[object, object, None]) -> None:
    """Run on a simulated machine."""
    with (
        wall_clock_of(machine),
        asyncio.Runner(loop_factory=lambda: SimulatedLoop(machine)) as runner,
    ):
        runner.run(main)
