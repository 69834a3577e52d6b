"""Boot time, its translation into wall time, and what moves the two apart."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from refresherd.domain.events import ClockJumped, Jump
from refresherd.domain.model import Instant

SAME_SECONDS = 0.05
"""Wall time less boot time that moved less than this is noise: an instant keeps its wall time."""

JUMP_SECONDS = 0.5
"""A suspend or a step is at least this long. Slewing, as NTP does it, moves all clocks alike."""

TORN_SECONDS = 0.001
"""A reading that took longer was interrupted half-way, and is taken again."""

TRIES = 5

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""random(4): it is generated once, and does not change while the machine is up."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The kernel's clocks in seconds, as nearly at one moment as a process can read them.

    `boot` goes on in a suspend, `monotonic` stands still, `wall` is unix time
    (clock_gettime(2)).
    """

    boot: float
    monotonic: float
    wall: float


def read_clocks(gettime: Callable[[int], float] = time.clock_gettime) -> Reading:
    """Read the clocks, again if the process was held up in between.

    Being held up for a second between two clocks would look like a jump of a second.
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
    """Return what tells this boot from all others, "" where the kernel does not say."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class BootClock:
    """The Clock that the daemon lives by."""

    def __init__(
        self,
        gettime: Callable[[int], float] = time.clock_gettime,
        read: Callable[[], Reading] = read_clocks,
    ) -> None:
        self._gettime = gettime
        self._read = read
        self._offset = _offset(read())

    def now(self) -> Instant:
        """Return CLOCK_BOOTTIME in seconds."""
        return Instant(self._gettime(time.CLOCK_BOOTTIME))

    def wall(self, instant: Instant) -> float:
        """Return an instant as unix seconds, by the wall clock as it is set now.

        The same instant gives the same answer each time, until the wall clock is set.
        """
        offset = _offset(self._read())
        if abs(offset - self._offset) > SAME_SECONDS:
            self._offset = offset
        return instant + self._offset


class JumpDetector:
    """Tells what happened to the clocks between one look and the next."""

    def __init__(self, read: Callable[[], Reading] = read_clocks) -> None:
        self._read = read
        self._last = read()

    def jumps(self) -> tuple[ClockJumped, ...]:
        """Return the suspend and the step since the last look, if there were any."""
        last, self._last = self._last, self._read()
        return jumps_between(last, self._last)


def jumps_between(earlier: Reading, later: Reading) -> tuple[ClockJumped, ...]:
    """Return what moved the clocks apart between two readings.

    `seconds` is how long the machine slept, or how far the wall clock was set,
    below 0 for backwards.
    """
    slept = _asleep(later) - _asleep(earlier)
    stepped = _offset(later) - _offset(earlier)
    found = []
    if slept > JUMP_SECONDS:
        found.append(ClockJumped(Jump.SUSPEND, slept))
    if abs(stepped) > JUMP_SECONDS:
        found.append(ClockJumped(Jump.STEP, stepped))
    return tuple(found)


def _asleep(reading: Reading) -> float:
    """Return how long the machine has slept since it booted."""
    return reading.boot - reading.monotonic


def _offset(reading: Reading) -> float:
    """Return what turns boot time into wall time."""
    return reading.wall - reading.boot
