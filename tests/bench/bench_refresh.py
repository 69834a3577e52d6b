"""What a refresh costs compared with a bare request: CPU time of the client's process.

Usage: python tests/bench/run.py refresh

refresherd is put together as the daemon does it, and nothing is called by hand: each of APPS
apps gets tokens that live for a second, and the schedule wakes it for the next one at about
half of that. So a refresh is an alarm, a request, the decoded answer, the store, a file on
tmpfs, metrics, and a line of JSON at level info that goes to /dev/null. Beside it, as many
tasks send the same request just as often, over the same kind of connections, and decode the
answer by aiohttp and nothing else. Both run in this process, in turn, for short windows after
a warm-up; the server runs in another.

Plain HTTP is for development only. By default a refresh ends the replaced session as well,
by a second request: that is a figure of its own.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from statistics import median

import aiohttp

from bench import stage
from bench.assembled import kept, silence
from bench.report import heading, row
from refresherd.config import Configuration, load
from refresherd.host.clock import BootClock

APPS = 400
"""They refresh less than a thousand times a second: beyond that, log lines are dropped."""

LIFETIME = 1
"""Seconds, the shortest that DSM can grant."""

PERIOD = 0.45
"""Seconds from one refresh of an app to the next, on average: half a lifetime less jitter."""

ROUNDS = 3
WARM_UP = 0.9
WINDOW = 1.2

Measure = Callable[[], Coroutine[None, None, float]]


async def cpu_each(count: Callable[[], int]) -> float:
    """Return the CPU time in µs for each counted event during one window."""
    await asyncio.sleep(WARM_UP)
    before, began = count(), time.process_time()
    await asyncio.sleep(WINDOW)
    return (time.process_time() - began) / (count() - before) * 1e6


async def refreshing(configuration: Configuration) -> float:
    """Return what a refresh costs."""
    async with kept(configuration, BootClock()) as assembly:
        statuses = assembly.supervisor.statuses
        return await cpu_each(lambda: sum(status.session.generation for status in statuses()))


async def requesting(url: str, context: ssl.SSLContext | None) -> float:
    """Return what a request and its decoded answer cost."""
    done = 0
    headers = {"Authorization": "Bearer " + "t" * 86}
    connector = aiohttp.TCPConnector(ssl=context or True)
    start = time.monotonic()

    async def client(number: int) -> None:
        nonlocal done
        due = start + number / APPS * PERIOD
        while True:
            await asyncio.sleep(due - time.monotonic())
            due += PERIOD
            async with session.post(f"{url}/sys/v1/session/reauth", headers=headers) as answer:
                await answer.json()
            done += 1

    async with aiohttp.ClientSession(connector=connector) as session:
        clients = [asyncio.create_task(client(number)) for number in range(APPS)]
        cost = await cpu_each(lambda: done)
        for task in clients:
            task.cancel()
        await asyncio.wait(clients)
    return cost


def ending_sessions(configuration: Configuration) -> Configuration:
    """Return the configuration with replaced sessions terminated instead of left to idle out."""
    apps = (
        replace(app, timing=replace(app.timing, terminate_after=60.0)) for app in configuration.apps
    )
    return replace(configuration, apps=tuple(apps))


def costs(*measures: Measure) -> list[float]:
    """Return the median of each measurement; their rounds are interleaved."""
    rounds = [[asyncio.run(measure()) for measure in measures] for _ in range(ROUNDS)]
    return [median(column) for column in zip(*rounds, strict=True)]


def over_https(place: Path) -> None:
    """Print the figures for production use."""
    place.mkdir()
    with stage.canned_dsm(LIFETIME, place) as url:
        context = ssl.create_default_context(cafile=place / "ca.pem")
        configuration = lasting(place, url, place)
        request, refresh, with_ending = costs(
            lambda: requesting(url, context),
            lambda: refreshing(configuration),
            lambda: refreshing(ending_sessions(configuration)),
        )
    row("a refresh over HTTPS", refresh, request, "2.0x")
    row("  that ends the replaced session as well", with_ending, request)


def over_http(place: Path) -> None:
    """Print the figures for development use."""
    place.mkdir()
    with stage.canned_dsm(LIFETIME) as url:
        configuration = lasting(place, url)
        request, refresh = costs(lambda: requesting(url, None), lambda: refreshing(configuration))
    row("a refresh over HTTP", refresh, request, "2.0x")


def lasting(place: Path, url: str, tls: Path | None = None) -> Configuration:
    """Return a configuration that leaves replaced sessions to idle out."""
    return load(stage.configuration(place, url, APPS, tls, 'terminate_after = "never"'), {})


def main() -> None:
    """Measure and print."""
    heading("CPU time, µs", "bare request")
    with silence(), stage.directory() as place:
        over_https(place / "https")
        over_http(place / "http")


if __name__ == "__main__":
    main()
