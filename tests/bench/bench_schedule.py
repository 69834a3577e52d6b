"""What an alarm costs compared with the event loop's own `call_at`.

Usage: python tests/bench/bench_schedule.py

Rounds of the two are interleaved and medians printed: the ratios carry over to other
machines, the figures do not.
"""

import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median

from refresherd.adapters.scheduling import BootSchedule
from refresherd.domain.events import Event
from refresherd.domain.model import Instant
from refresherd.host.clock import BootClock, JumpDetector

SLEEPERS = 2_000
ROUNDS = 3
DUE_IN = 0.3
"""Seconds in which all sleepers can fall asleep."""

FIRST_STEP = 50e-6
"""Seconds of work for each sleeper that wakes."""

IN_A_ROW = 200

Sleep = Callable[[float], Awaitable[None]]
"""Sleeps until that many seconds after the timeline was made."""

Timeline = Callable[[], AbstractAsyncContextManager[Sleep]]


class Deaf:
    """An observer that does nothing."""

    def observe(self, event: Event) -> None:
        """Ignore an event."""


@asynccontextmanager
async def bare_futures() -> AsyncIterator[Sleep]:
    """Sleep for ever: the cost of any sleeper."""
    loop = asyncio.get_running_loop()

    async def sleep(_seconds: float) -> None:
        await loop.create_future()

    yield sleep


@asynccontextmanager
async def call_at() -> AsyncIterator[Sleep]:
    """Sleep by the event loop's own timers: no boot time, no APScheduler."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def sleep(seconds: float) -> None:
        future = loop.create_future()
        loop.call_at(start + seconds, future.set_result, None)
        await future

    yield sleep


@asynccontextmanager
async def schedule() -> AsyncIterator[Sleep]:
    """Sleep by refresherd's schedule."""
    clock = BootClock()
    timeline = BootSchedule(clock, Deaf(), JumpDetector().jumps)
    start = clock.now()

    def sleep(seconds: float) -> Awaitable[None]:
        return timeline.alarm().wait(Instant(start + seconds))

    running = asyncio.create_task(timeline.run())
    yield sleep
    running.cancel()
    await asyncio.wait([running])


class Turns:
    """Measures the longest time between two turns of the event loop."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()
        self._look()

    def _look(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._handle = asyncio.get_running_loop().call_soon(self._look)

    def stop(self) -> None:
        """Stop measuring."""
        self._handle.cancel()


async def quota(sleep: Sleep, work: float = 0.0) -> list[asyncio.Task[None]]:
    """Return sleepers that are all asleep; each works for `work` seconds when it wakes."""

    async def sleeper() -> None:
        await sleep(DUE_IN)
        until = time.perf_counter() + work
        while work and time.perf_counter() < until:
            pass

    tasks = [asyncio.create_task(sleeper()) for _ in range(SLEEPERS)]
    await asyncio.sleep(0)
    return tasks


async def held(timeline: Timeline, work: float) -> float:
    """Return for how long the loop was blocked at most when all woke, in ms."""
    async with timeline() as sleep:
        sleepers = await quota(sleep, work)
        all_awake = asyncio.gather(*sleepers)
        await asyncio.sleep(0.01)
        turns = Turns()
        await all_awake
        turns.stop()
    return turns.longest * 1e3


async def burst(timeline: Timeline) -> float:
    """Return the CPU time per sleeper when all wake at once, in µs."""
    async with timeline() as sleep:
        sleepers = await quota(sleep)
        before = time.process_time()
        await asyncio.wait(sleepers)
        return (time.process_time() - before) / SLEEPERS * 1e6


async def in_a_row(timeline: Timeline) -> float:
    """Return the CPU time per alarm when they go off one by one, in µs."""
    async with timeline() as sleep:
        await sleep(0)
        before = time.process_time()
        for number in range(IN_A_ROW):
            await sleep(number * 0.001)
        return (time.process_time() - before) / IN_A_ROW * 1e6


async def memory(timeline: Timeline) -> float:
    """Return the bytes for each sleeper."""
    async with timeline() as sleep:
        gc.collect()
        tracemalloc.start()
        sleepers = await quota(sleep)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for sleeper in sleepers:
            sleeper.cancel()
        await asyncio.wait(sleepers)
    return used / SLEEPERS


def compare(what: str, measure: Callable[[Timeline], float]) -> None:
    """Print the medians of one measurement for both, and their ratio."""
    pairs = [(measure(call_at), measure(schedule)) for _ in range(ROUNDS)]
    plain, ours = (median(column) for column in zip(*pairs, strict=True))
    sys.stdout.write(f"{what:<52}{plain:>10.1f}{ours:>10.1f}{ours / plain:>8.2f}\n")


def main() -> None:
    """Measure and print."""
    sys.stdout.write(f"{SLEEPERS} alarms, medians of {ROUNDS} rounds\n")
    sys.stdout.write(f"{'':<52}{'call_at':>10}{'schedule':>10}{'ratio':>8}\n")
    compare("due at once: longest turn of the loop, ms", lambda t: asyncio.run(held(t, 0)))
    compare(
        f"  where each then works for {FIRST_STEP * 1e6:.0f} µs, ms",
        lambda t: asyncio.run(held(t, FIRST_STEP)),
    )
    compare("due at once: CPU each, µs", lambda t: asyncio.run(burst(t)))
    compare("due one by one: CPU each, µs", lambda t: asyncio.run(in_a_row(t)))
    bare = asyncio.run(memory(bare_futures))
    compare(
        "waiting, beyond a task and its future: bytes each", lambda t: asyncio.run(memory(t)) - bare
    )


if __name__ == "__main__":
    main()
