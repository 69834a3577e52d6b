"""A wall clock of one process's own, set to order: libfaketime's. Boot time goes on as it is."""

import asyncio
import time
from pathlib import Path

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
"""Debian's. libfaketimeMT is for programs that fork while other threads ask for the time."""

TICK = 0.1
"""Seconds between two steps of a clock that is too slow or too fast."""


class WallClock:
    """The wall clock of whatever runs under `wrapper`, which is a command before a command.

    CLOCK_MONOTONIC and CLOCK_BOOTTIME are left alone. The rates that libfaketime has would
    change how long its process waits as well, so a clock that drifts is one set again and again.
    """

    def __init__(self, directory: Path, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self._file = directory / "wall-clock"
        self.set(ahead)

    @property
    def wrapper(self) -> tuple[str, ...]:
        """The command that has another one run by this clock."""
        return (
            "env",
            f"LD_PRELOAD={LIBRARIES[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )

    def now(self) -> float:
        """Return what it shows, in unix seconds."""
        return time.time() + self.ahead

    def set(self, ahead: float) -> None:
        """Set it to so many seconds before the host's, or behind where they are below 0."""
        self.ahead = ahead
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead:+.6f}\n")
        fresh.replace(self._file)

    async def drift(self, rate: float, seconds: float) -> None:
        """Have it run at another rate than time for so long."""
        begun, ahead = time.monotonic(), self.ahead
        while (passed := time.monotonic() - begun) < seconds:
            self.set(ahead + (rate - 1) * passed)
            await asyncio.sleep(TICK)
