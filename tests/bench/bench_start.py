"""The time from exec to the first token in its file, compared with importing the libraries alone.

Usage: python tests/bench/run.py start

`refresherd run` with one app over HTTPS, its modules compiled. Beside it, in turn, stands an
interpreter that imports aiohttp, APScheduler, structlog, prometheus_client and msgspec.
"""

import subprocess
import sys
import time
from statistics import median

from bench import stage
from bench.report import heading, row

LIFETIME = 600
ROUNDS = 5

LIBRARIES = (
    "import aiohttp.web, apscheduler.schedulers.asyncio, msgspec, prometheus_client, structlog"
)

LOOK = 0.001
"""Seconds between two checks for the file."""


def to_first_token() -> float:
    """Return the time in ms from starting the daemon to the token in its file."""
    with stage.directory() as place, stage.canned_dsm(LIFETIME, place) as url:
        configuration = stage.configuration(place, url, 1, place)
        began = time.perf_counter()
        with stage.daemon(configuration) as process:
            stage.await_tokens(place, 1, process, LOOK)
            return (time.perf_counter() - began) * 1e3


def to_libraries() -> float:
    """Return the time in ms of an interpreter that imports the same libraries."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Measure and print."""
    to_first_token()  # compiles what is not
    rounds = [(to_libraries(), to_first_token()) for _ in range(ROUNDS)]
    libraries, token = (median(column) for column in zip(*rounds, strict=True))
    heading("Start", "libraries alone")
    row("from exec to the first token in its file, ms", token, libraries, "500 ms")


if __name__ == "__main__":
    main()
