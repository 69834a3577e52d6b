"""Scrapes of ten thousand apps: how long the event loop is held, and how much memory they take.

Usage: python tests/bench/run.py scrape

refresherd is assembled as the daemon does it, with its HTTP listener, once every app has its token.
The scrapers are another process: one scraper alone, and then a hundred at once. Memory is what the
kernel saw at most (VmHWM of proc_pid_status(5)), less what was in use before. Package to install
first: curl (Debian).
"""

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import stage
from bench.assembled import kept, silence
from bench.bench_crowd import APPS, LIFETIME, Deliveries, watched
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

FORMATS = {
    "text": (),
    "text, compressed": ("--header", "Accept-Encoding: gzip"),
    "OpenMetrics, compressed": (
        *("--header", "Accept-Encoding: gzip"),
        *("--header", "Accept: application/openmetrics-text;version=1.0.0"),
    ),
}
"""By what a scraper asks for, curl's options. Prometheus asks for the last."""

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
    process = await asyncio.create_subprocess_exec(CURL, *arguments)
    if await process.wait():
        raise RuntimeError("curl failed")


async def cost(address: tuple[str, int], times: int, options: tuple[str, ...]) -> Cost:
    """Measure so many scrapes at once, in several rounds."""
    costs = []
    for _ in range(ROUNDS):
        await asyncio.sleep(PAUSE)
        before = memory("VmRSS")
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        outcome = await watched(lambda: fetched(address, times, options))
        costs.append(Cost(outcome.took, outcome.held, memory("VmHWM") - before))
    return Cost(*(max(getattr(one, name) for one in costs) for name in ("took", "held", "memory")))


async def serve(configuration: Configuration) -> dict[tuple[str, int], Cost]:
    """Serve all apps, and measure the scrapes of each format, alone and at once."""
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
            return {
                (form, times): await cost(address, times, options)
                for form, options in FORMATS.items()
                for times in (1, MANY)
            }
        finally:
            await http.stop()


def measure(place: Path) -> None:
    """Measure and print."""
    with stage.canned_dsm(LIFETIME) as url:
        configuration = load(stage.configuration(place, url, APPS), {})
        costs = asyncio.run(serve(configuration))
    heading(f"Scrapes of {APPS} apps, the worst of {ROUNDS}", "one scrape")
    for form in FORMATS:
        one, many = costs[form, 1], costs[form, MANY]
        row(f"{form}: until it is read, ms", one.took)
        row("  longest time that the event loop was held, ms", one.held, aim=AIM)
        row(f"  the same while {MANY} ask at once, ms", many.held, one.held, AIM)
        row("  memory at most, MiB", one.memory)
        row(f"  the same while {MANY} ask at once, MiB", many.memory, one.memory)


def main() -> None:
    """Measure with the log going nowhere."""
    if not stage.found(CURL):
        sys.exit(f"{CURL} is not installed")
    with silence(), stage.directory() as place:
        measure(place)


if __name__ == "__main__":
    main()
