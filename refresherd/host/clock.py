"""Boot time, its conversion to wall time, and the jumps that move the two apart."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from refresherd.domain.events import ClockJumped
from refresherd.domain.labels import Jump
from refresherd.domain.model import Instant

SAME_SECONDS = 0.05
"""A smaller change of the offset between wall and boot time is noise and is ignored."""

JUMP_SECONDS = 0.5
"""A shorter difference is neither a suspend nor a step. NTP slews all clocks alike."""

TORN_SECONDS = 0.001
"""A reading that took longer was interrupted, and is repeated."""

TRIES = 5

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""random(4): generated at boot, and constant until the next boot."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The kernel's clocks (clock_gettime(2)) in seconds, read as nearly at once as possible."""

    boot: float
    """Goes on during a suspend."""
    monotonic: float
    """Stands still during a suspend."""
    wall: float
    """Unix time."""

    @property
    def offset(self) -> float:
        """Wall time less boot time."""
        return self.wall - self.boot


def read_clocks(gettime: Callable[[int], float] = time.clock_gettime) -> Reading:
    """Read the clocks; read them again if the process was held up in between.

    A delay of a second between two clocks would look like a jump of a second.
    """
    for _ in range(TRIES):
        began = gettime(time.CLOCK_BOOTTIME)
        monotonic = gettime(time.CLOCK_MONOTONIC)
        wall = gettime(time.CLOCK_REALTIME)
        boot = gettime(time.CLOCK_BOOTTIME)
        if boot - began <= TORN_SECONDS:
            break
    return Reading(boot, monotonic, wall)


def boot_id(path: Path = BOOT_ID) -> str:
    """Return the kernel's id of this boot, "" if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class BootClock:
    """The daemon's Clock: CLOCK_BOOTTIME."""

    def __init__(
        self,
        gettime: Callable[[int], float] = time.clock_gettime,
        read: Callable[[], Reading] = read_clocks,
    ) -> None:
        self._gettime = gettime
        self._read = read
        self._offset = read().offset

    def now(self) -> Instant:
        """Return CLOCK_BOOTTIME in seconds."""
        return Instant(self._gettime(time.CLOCK_BOOTTIME))

    def wall(self, instant: Instant) -> float:
        """Return an instant as unix seconds, by the wall clock as it is set now.

        An instant gives the same result each time until the wall clock is set.
        """
        offset = self._read().offset
        if abs(offset - self._offset) > SAME_SECONDS:
            self._offset = offset
        return instant + self._offset


class JumpDetector:
    """Finds suspends and steps between one call and the next."""

    def __init__(self, read: Callable[[], Reading] = read_clocks) -> None:
        self._read = read
        self._last = read()

    def jumps(self) -> tuple[ClockJumped, ...]:
        """Return the suspend and the step since the last call, if there were any.

        `seconds` is how long the machine was suspended, or how far the wall clock was set, below 0
        for backwards.
        """
        last, self._last = self._last, self._read()
        suspended = (self._last.boot - self._last.monotonic) - (last.boot - last.monotonic)
        stepped = self._last.offset - last.offset
        found = []
        if suspended > JUMP_SECONDS:
            found.append(ClockJumped(Jump.SUSPEND, suspended))
        if abs(stepped) > JUMP_SECONDS:
            found.append(ClockJumped(Jump.STEP, stepped))
        return tuple(found)
