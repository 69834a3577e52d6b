"""How long the event loop is held while the HTTP listener answers for very many apps.

Usage: python tests/bench/run.py pages

A probe asks for /livez again and again on a connection of its own: what it waits longer than at
rest, the loop was held, or its thread waited for the interpreter. Meanwhile another client asks
for metrics, the status page and its facts, compressed as Prometheus and browsers do.
"""

import http.client
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from bench import stage
from bench.report import heading, row

APPS = (1_000, 10_000)

ROUNDS = 5

PAUSE = 0.001
"""Seconds between two questions of the probe."""

PATHS = {
    "metrics": "/metrics",
    "the status page": "/",
    "a search on the status page": "/?q=app0&sort=name&page=7",
    "its facts": "/status.json",
    "readiness": "/readyz",
}

AIM = "50.0"
"""Milliseconds."""


class Probe(threading.Thread):
    """Asks for /livez until it is stopped; `slowest` is in seconds."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._over = threading.Event()
        self.slowest = 0.0

    def run(self) -> None:
        """Ask."""
        while not self._over.wait(PAUSE):
            began = time.perf_counter()
            self._connection.request("GET", "/livez")
            self._connection.getresponse().read()
            self.slowest = max(self.slowest, time.perf_counter() - began)

    def stop(self) -> float:
        """Return the slowest answer in milliseconds."""
        self._over.set()
        self.join()
        self._connection.close()
        return self.slowest * 1000


def fetch(port: int, path: str) -> int:
    """Return the length of a compressed answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    length = len(connection.getresponse().read())
    connection.close()
    return length


def slowest(port: int, act: Callable[[], object]) -> float:
    """Return the probe's slowest answer while something is done, in milliseconds."""
    probe = Probe(port)
    probe.start()
    act()
    return probe.stop()


def measure(apps: int) -> None:
    """Measure with so many apps, and print."""
    with stage.directory() as place, stage.canned_dsm(3600) as url:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        config: Path = stage.configuration(place, url, apps)
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        with stage.daemon(config) as process:
            stage.await_tokens(place, apps, process, pause=0.5)
            time.sleep(2)
            heading(f"{apps} apps, the slowest answer meanwhile, ms", "at rest")
            at_rest = median(slowest(port, lambda: time.sleep(1)) for _ in range(ROUNDS))
            for what, path in PATHS.items():
                found = []
                for _ in range(ROUNDS):
                    time.sleep(6)  # until no answer is shared any more
                    found.append(slowest(port, partial(fetch, port, path)))
                row(what, max(found), at_rest, AIM)


def main() -> None:
    """Measure with each number of apps."""
    for apps in APPS:
        measure(apps)


if __name__ == "__main__":
    main()
