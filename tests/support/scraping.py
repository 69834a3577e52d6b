"""A whole Prometheus that scrapes the daemon."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

from faults.rig.ports import unused_port
from support.lab import needs_tool

PATIENCE = 30.0
"""Seconds after which a Prometheus that scrapes twice a second has given up."""


def scraped(configuration: str, directory: Path) -> list[str]:
    """Return the values of `up` that a Prometheus with this configuration soon has.

    The paths in it are relative to the directory.
    """
    prometheus, port = needs_tool("prometheus"), unused_port()
    config = directory / "prometheus.yml"
    config.write_text(configuration)
    options = f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={directory}/data"
    with (directory / "prometheus.log").open("wb") as log:
        started = [prometheus, f"--config.file={config}", *options]
        process = subprocess.Popen(started, stdout=log, stderr=log)
    try:
        return _eventually_up(port)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _eventually_up(port: int) -> list[str]:
    url, deadline = f"http://127.0.0.1:{port}/api/v1/query?query=up", time.monotonic() + PATIENCE
    values: list[str] = []
    while values != ["1"] and time.monotonic() < deadline:
        time.sleep(0.2)
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = json.load(answer)
        except OSError:
            continue
        values = [one["value"][1] for one in found["data"]["result"]]
    return values
