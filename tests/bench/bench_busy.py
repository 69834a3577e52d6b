"""How long a token takes to read while the daemon refreshes 300 others a second.

Usage: python tests/bench/run.py busy

Two daemons with as many apps, one of which has nothing to refresh, are loaded in turn by h2load
over 16 connections that stay open. Package to install first: nghttp2-client (Debian).
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench import stage
from bench.load import H2LOAD, Speed, Target, ask, kept_open, over_http
from bench.report import heading, row

APPS = 1400
"""They are refreshed after 4 to 5 of 10 seconds: some 300 a second."""

BUSY_LIFETIME, CALM_LIFETIME = 10, 3600
"""Seconds."""

ROUNDS, CONNECTIONS, REQUESTS = 15, 16, 8000

AIM = "2.00"


@contextmanager
def refresherd(place: Path, lifetime: int) -> Iterator[Path]:
    """Run the daemon; yield the path of its API socket."""
    with (
        stage.canned_dsm(lifetime) as url,
        stage.daemon(stage.configuration(place, url, APPS)) as process,
    ):
        stage.await_tokens(place, APPS, process, pause=0.2)
        yield place / "api.sock"


def generations(socket: Path) -> int:
    """Return how many tokens there have been."""
    answer = ask(over_http(socket, "GET", "/v1/apps"))
    return sum(app["generation"] for app in json.loads(answer.partition(b"\r\n\r\n")[2])["apps"])


def token(socket: Path) -> Target:
    """Return what is asked for."""
    return over_http(socket, "GET", "/v1/apps/app00000/token")


def measure(busy: Path, calm: Path, log: Path) -> None:
    """Measure and print."""
    load = kept_open(CONNECTIONS, REQUESTS, log)
    speeds: dict[Path, list[Speed]] = {busy: [], calm: []}
    began, before = time.monotonic(), generations(busy)
    for number in range(ROUNDS):
        for socket in (busy, calm) if number % 2 else (calm, busy):
            speeds[socket].append(load(token(socket)))
    rate = (generations(busy) - before) / (time.monotonic() - began)
    heading(f"{CONNECTIONS} connections while {rate:.0f} tokens are renewed a second", "at rest")
    p50, at_rest = (median(one.p50 for one in speeds[which]) for which in (busy, calm))
    row("a token: p50, µs", p50, at_rest)
    p99, at_rest = (median(one.p99 for one in speeds[which]) for which in (busy, calm))
    row("a token: p99, µs", p99, at_rest, AIM)


def main() -> None:
    """Run both daemons, and measure."""
    if not stage.found(H2LOAD):
        sys.exit(f"{H2LOAD} is not installed")
    with (
        stage.directory() as first,
        stage.directory() as second,
        refresherd(first, BUSY_LIFETIME) as busy,
        refresherd(second, CALM_LIFETIME) as calm,
    ):
        measure(busy, calm, first / "h2load.log")


if __name__ == "__main__":
    main()
