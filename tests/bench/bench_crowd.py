"""Ten thousand apps: how long until all have tokens, and how long the event loop is blocked.

Usage: python tests/bench/run.py crowd

refresherd is assembled as the daemon does it, on a clock that can be put forward: by that
all tokens fall due at once, as after a suspend. Then all are refreshed at once, as by SIGUSR1.
It is compared with as many tasks that send the same requests with aiohttp alone, as many of
them in flight as refresherd allows itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from bench import stage
from bench.assembled import kept, silence
from bench.report import heading, row
from refresherd.config import Configuration, load
from refresherd.domain.events import Event, OutputWritten
from refresherd.host.clock import BootClock, read_clocks

APPS = 10_000
LIFETIME = 600
PAST_DUE = 400.0
"""Seconds: between half of LIFETIME and all of it."""

IN_FLIGHT = 32
"""The default of `max_in_flight`."""

TICK = 0.002
"""Seconds for which the probe sleeps."""


class Skewed:
    """The kernel's clocks, put forward by `ahead` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def gettime(self, clock: int) -> float:
        """Return a clock's time in seconds."""
        return time.clock_gettime(clock) + self.ahead


class Deliveries:
    """An Observer that counts written files."""

    def __init__(self) -> None:
        self._written = 0
        self._all = asyncio.Event()

    def observe(self, event: Event) -> None:
        """Count the written files."""
        if isinstance(event, OutputWritten):
            self._written += 1
            if self._written % APPS == 0:
                self._all.set()

    async def all(self) -> None:
        """Return once every app's file has been written again."""
        await self._all.wait()
        self._all.clear()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long something took, and for how long the loop was blocked at most, in ms."""

    took: float
    held: float


async def watched(work: Callable[[], Awaitable[object]]) -> Outcome:
    """Do some work and measure it."""
    longest = 0.0

    async def probe() -> None:
        nonlocal longest
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            longest = max(longest, time.perf_counter() - due)

    probing = asyncio.create_task(probe())
    await asyncio.sleep(10 * TICK)
    began = time.perf_counter()
    await work()
    took = time.perf_counter() - began
    await asyncio.sleep(10 * TICK)
    probing.cancel()
    await asyncio.wait([probing])
    return Outcome(took * 1e3, longest * 1e3)


async def keep(configuration: Configuration) -> dict[str, Outcome]:
    """Serve all apps after a start, after a suspend, and on demand."""
    skewed, deliveries = Skewed(), Deliveries()
    clock = BootClock(skewed.gettime, partial(read_clocks, skewed.gettime))
    async with kept(configuration, clock, deliveries) as assembly:

        async def resumed() -> None:
            skewed.ahead += PAST_DUE
            await deliveries.all()

        async def refreshed_all() -> None:
            assembly.supervisor.refresh_all()
            await deliveries.all()

        return {
            "a start": await watched(deliveries.all),
            "a suspend": await watched(resumed),
            "SIGUSR1": await watched(refreshed_all),
        }


async def request(url: str) -> Outcome:
    """Send a request for each app."""
    admitted = asyncio.Semaphore(IN_FLIGHT)
    headers = {"Authorization": "Bearer " + "t" * 86}

    async def one() -> None:
        async with (
            admitted,
            session.post(f"{url}/sys/v1/session/reauth", headers=headers) as answer,
        ):
            await answer.json()

    async def all_at_once() -> None:
        await asyncio.gather(*(one() for _ in range(APPS)))

    async with aiohttp.ClientSession() as session:
        return await watched(all_at_once)


def measure(place: Path) -> None:
    """Measure and print."""
    with stage.canned_dsm(LIFETIME) as url:
        configuration = load(stage.configuration(place, url, APPS), {})
        bare = asyncio.run(request(url))
        outcomes = asyncio.run(keep(configuration))
    heading(f"{APPS} apps at once", "bare requests")
    for after, outcome in outcomes.items():
        row(f"after {after}: until all files are written, ms", outcome.took, bare.took)
        row("  longest time that the event loop was blocked, ms", outcome.held, bare.held)


def main() -> None:
    """Measure with the log going nowhere."""
    with silence(), stage.directory() as place:
        measure(place)


if __name__ == "__main__":
    main()
