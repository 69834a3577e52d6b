"""A wall clock for one process, made by libfaketime; boot time stays real."""

import asyncio
import time
from pathlib import Path

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
"""Debian's. libfaketimeMT is for programs that fork while other threads ask for the time."""

TICK = 0.1
"""Seconds between two corrections of a drifting clock."""


class WallClock:
    """The wall clock of every process that `wrapper` starts.

    CLOCK_MONOTONIC and CLOCK_BOOTTIME stay real. libfaketime's own rates would also change how
    long a process sleeps, so a drifting clock is set again and again.
    """

    def __init__(self, directory: Path, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self._file = directory / "wall-clock"
        self.set(ahead)

    @property
    def wrapper(self) -> tuple[str, ...]:
        """The command that starts another one under this clock."""
        return (
            "env",
            f"LD_PRELOAD={LIBRARIES[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )

    def now(self) -> float:
        """Return its time in unix seconds."""
        return time.time() + self.ahead

    def set(self, ahead: float) -> None:
        """Set it `ahead` seconds ahead of the host's clock, or behind it if negative."""
        self.ahead = ahead
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead:+.6f}\n")
        fresh.replace(self._file)

    async def drift(self, rate: float, seconds: float) -> None:
        """Let it run at another rate for `seconds`."""
        begun, ahead = time.monotonic(), self.ahead
        while (passed := time.monotonic() - begun) < seconds:
            self.set(ahead + (rate - 1) * passed)
            await asyncio.sleep(TICK)
