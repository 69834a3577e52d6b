"""Scrapes of ten thousand apps: how long the event loop is held, and how much memory they take.

Usage: python tests/bench/run.py scrape

refresherd is assembled as the daemon does it, with its HTTP listener, once every app has its token.
The scrapers are another process: one alone, and then a hundred at once. Time for which the loop was
held does not count while this process did not compute: others had the processors then. Memory is
what the kernel saw at most (VmHWM of proc_pid_status(5)), less what was in use before the first
scrape. Package to install first: curl (Debian).
"""

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import stage
from bench.assembled import kept, silence
from bench.bench_crowd import APPS, LIFETIME, TICK, Deliveries
from bench.report import heading, row
from refresherd.adapters.metrics.exposition import Exposition
from refresherd.adapters.metrics.observer import Metrics
from refresherd.adapters.web.listener import HttpListener
from refresherd.adapters.web.pages import Pages
from refresherd.adapters.web.recent import Recent
from refresherd.config import Configuration, load
from refresherd.host.clock import BootClock
from refresherd.host.keyed_executor import KeyedExecutor

CURL = "curl"
MANY = 100
ROUNDS = 3
PAUSE = 6.0
"""Seconds after which a scrape is made anew."""

PLAIN: tuple[str, ...] = ()
COMPRESSED = (
    *("--header", "Accept-Encoding: gzip"),
    *("--header", "Accept: application/openmetrics-text;version=1.0.0"),
)
"""What Prometheus asks for, as curl's options."""

AIM = "50"


@dataclass(frozen=True, slots=True)
class Cost:
    """What scrapes cost at most in some rounds: milliseconds, and MiB."""

    took: float
    held: float
    memory: float


def memory(field: str) -> float:
    """Return this process's memory in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


async def fetched(address: tuple[str, int], times: int, options: tuple[str, ...]) -> None:
    """Fetch the metrics so many times at once."""
    host, port = address
    url = f"http://{host}:{port}/metrics?[1-{times}]"
    many = ("--parallel", "--parallel-immediate", "--parallel-max", str(times))
    arguments = ("--silent", "--fail", "--output", "/dev/null", *many, *options, url)
    process = await asyncio.create_subprocess_exec(CURL, *arguments, stderr=DEVNULL)
    if await process.wait():
        raise RuntimeError("curl failed")


class Probe:
    """A task that notes for how many seconds at most it could not run."""

    def __init__(self) -> None:
        self.held = 0.0

    async def run(self) -> None:
        """Note it until cancelled."""
        while True:
            due, computed = time.perf_counter() + TICK, time.process_time()
            await asyncio.sleep(TICK)
            late = time.perf_counter() - due
            self.held = max(self.held, min(late, time.process_time() - computed))


async def cost(
    address: tuple[str, int], times: int, options: tuple[str, ...], before: float
) -> Cost:
    """Measure so many scrapes at once, in several rounds; `before` is the memory before the first.

    The processors' time of a stretch is that of all threads, which can only overstate it.
    """
    costs = []
    for _ in range(ROUNDS):
        await asyncio.sleep(PAUSE)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        probe, began = Probe(), time.perf_counter()
        probing = asyncio.create_task(probe.run())
        await fetched(address, times, options)
        took = time.perf_counter() - began
        probing.cancel()
        costs.append(Cost(took * 1e3, probe.held * 1e3, memory("VmHWM") - before))
    return Cost(*(max(getattr(one, name) for one in costs) for name in ("took", "held", "memory")))


async def serve(configuration: Configuration) -> tuple[Cost, Cost, Cost]:
    """Serve all apps; measure a plain scrape, a compressed one, and many compressed at once."""
    clock, deliveries = BootClock(), Deliveries()
    metrics, recent = Metrics(clock.now(), configuration.apps), Recent(clock)
    async with kept(configuration, clock, metrics, recent, deliveries) as assembly:
        await deliveries.all()
        apps = assembly.supervisor
        exposition = Exposition(metrics, apps, clock, lambda: 0)
        fault = assembly.liveness.fault
        pages = Pages(exposition, apps, recent, KeyedExecutor(), clock, fault=fault)
        http = HttpListener([("127.0.0.1", 0)], pages, clock, assembly.admission)
        await http.start()
        (address,) = http.addresses
        try:
            before = memory("VmRSS")
            return (
                await cost(address, 1, PLAIN, before),
                await cost(address, 1, COMPRESSED, before),
                await cost(address, MANY, COMPRESSED, before),
            )
        finally:
            await http.stop()


def measure(place: Path) -> None:
    """Measure and print."""
    with stage.canned_dsm(LIFETIME) as url:
        configuration = load(stage.configuration(place, url, APPS), {})
        plain, one, many = asyncio.run(serve(configuration))
    heading(f"Scrapes of {APPS} apps, the worst of {ROUNDS}", "one scrape")
    row("plain text: until it is read, ms", plain.took)
    row("  longest time that the event loop was held, ms", plain.held, aim=AIM)
    row("  memory at most, MiB", plain.memory)
    row("as Prometheus scrapes: until it is read, ms", one.took)
    row("  longest time that the event loop was held, ms", one.held, aim=AIM)
    row("  memory at most, MiB", one.memory)
    row(f"{MANY} such scrapes at once: until all are read, ms", many.took, one.took)
    row("  longest time that the event loop was held, ms", many.held, one.held, AIM)
    row("  memory at most, MiB", many.memory, one.memory)


def main() -> None:
    """Measure with the log going nowhere."""
    if not stage.found(CURL):
        sys.exit(f"{CURL} is not installed")
    with silence(), stage.directory() as place:
        measure(place)


if __name__ == "__main__":
    main()
