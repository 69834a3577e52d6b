"""A stop of the installed daemon while everything around it hangs."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.processes import over, pids
from support.programs import PATIENCE, Dsm, Workplace, emulator, eventually, running

STOP_SECONDS = 5.0
"""The promise, in seconds."""

SCRIPT = "trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done"

STUBBORN = f"""
[[apps.payments.hooks]]
command = ["/bin/sh", "-c", "{SCRIPT}"]
timeout = "1m"
"""

MANY = 40
"""Requests on each connection: their log lines do not fit into the pipe."""

REQUESTS = (
    "GET /v1/apps",
    "GET /v1/apps/payments/token?watch=1",
    "GET /v1/apps/orders/token?wait=300",
    "POST /v1/apps/payments/refresh?wait=300",
)


@contextmanager
def stalled_reader(path: Path) -> Iterator[None]:
    """Make a pipe that is open for reading but never read."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield
    finally:
        os.close(reader)


def hang(dsm: Dsm) -> None:
    """Let DSM stop answering."""
    order = urllib.request.Request(  # noqa: S310  # the emulator's, on loopback
        f"{dsm.url}/control/faults", json.dumps({"hang": True}).encode()
    )
    with urllib.request.urlopen(order, timeout=PATIENCE):  # noqa: S310  # as above
        pass


def client(path: Path, request: str) -> socket.socket:
    """Return a connection on which an answer waits that is never read."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.sendall(f"{request} HTTP/1.1\r\nHost: refresherd\r\n\r\n".encode() * MANY)
    return connection


@pytest.mark.timing
def test_a_stop_is_in_time_though_everything_hangs_at_once(tmp_path: Path) -> None:
    """Each step of a stop has a bound of its own; the promise is for all of them together."""
    hook, api, log = (tmp_path / name for name in ("hook", "api.sock", "log"))
    with emulator("--lifetime", "30") as dsm, stalled_reader(log), ExitStack() as clients:
        workplace = Workplace(tmp_path, dsm)
        workplace.app("payments", STUBBORN.format(hook))
        workplace.sections.append('[apps.orders]\napi_key_command = ["sleep", "60"]\n')
        config = workplace.write(
            'shutdown = "terminate"\n[http]\nlisten = []\n[log]\nlevel = "debug"\n'
        )
        with running("run", "--config", str(config), stderr=log) as daemon:
            eventually(hook)
            hang(dsm)
            for request in REQUESTS:
                clients.enter_context(client(api, request))
            began = time.monotonic()
            daemon.terminate()
            daemon.wait(PATIENCE)
            assert time.monotonic() - began < STOP_SECONDS
        assert daemon.returncode == 0
        assert all(over(pid) for pid in pids(hook))


def test_a_process_that_hangs_itself_ends_as_well() -> None:
    """A dead filesystem may block the event loop, and with it every bound of its steps."""
    script = (
        "import time; from refresherd.host.process import end_after; end_after(0.1); time.sleep(99)"
    )
    ended = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE, check=False)
    assert ended.returncode == 0
