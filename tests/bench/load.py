"""Load on a Unix socket that hands out tokens, and how fast the answers come."""

import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

H2LOAD = "h2load"

PATIENCE = 30.0
"""Seconds after which an unanswered load is given up."""

READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Target:
    """A socket, what is sent to it for a token, and how a good answer begins.

    `path` and `body` are the request for h2load, which sends HTTP only: `path` is "" for a
    socket that speaks something else.
    """

    socket: Path
    question: bytes
    good: bytes
    path: str = ""
    body: Path | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """Requests per second, and the latencies in µs at the 50th and 99th percentile."""

    rate: float
    p50: float
    p99: float


Load = Callable[[Target], Speed]


def over_http(socket: Path, method: str, path: str, body: Path | None = None) -> Target:
    """Return an HTTP server as a target."""
    content = b"" if body is None else body.read_bytes()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return Target(socket, head.encode() + content, b"HTTP/1.1 200 ", path, body)


def kept_open(connections: int, requests: int, log: Path) -> Load:
    """Return a load by h2load over persistent connections; its request log goes to `log`."""

    def load(target: Target) -> Speed:
        body = () if target.body is None else (f"--data={target.body}",)
        program = (H2LOAD, "--h1", f"--clients={connections}", f"--requests={requests}", *body)
        where = (f"--log-file={log}", f"--base-uri=unix:{target.socket}")
        log.unlink(missing_ok=True)
        subprocess.run(
            [*program, *where, f"http://localhost{target.path}"],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        return _read(log, requests)

    return load


def anew_each(requests: int) -> Load:
    """Return a load by one client that makes a new connection for each request, one by one."""

    def load(target: Target) -> Speed:
        times = [time.perf_counter()]
        for _ in range(requests):
            ask(target)
            times.append(time.perf_counter())
        return _speed([after - before for before, after in pairwise(times)], times[-1] - times[0])

    return load


def ask(target: Target) -> bytes:
    """Return the whole answer to a request over a connection of its own."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(target.socket))
        if target.question:
            connection.sendall(target.question)
        while received := connection.recv(READ_BYTES):
            answer += received
    if not answer or not answer.startswith(target.good):
        raise RuntimeError(f"this is no token: {answer.decode()}")
    return answer


def _read(log: Path, requests: int) -> Speed:
    """Read h2load's log: when each request began (µs), its status, and how long it took (µs)."""
    lines = [tuple(map(int, line.split("\t"))) for line in log.read_text().splitlines()]
    if len(lines) != requests or any(status != 200 for _, status, _ in lines):
        raise RuntimeError("not every request was answered well")
    first = min(began for began, _, _ in lines)
    last = max(began + took for began, _, took in lines)
    return _speed([took * 1e-6 for _, _, took in lines], (last - first) * 1e-6)


def _speed(latencies: list[float], seconds: float) -> Speed:
    """Return the speed of requests from their latencies and the total time."""
    ordered = sorted(latencies)
    last = len(ordered) - 1
    p50, p99 = (ordered[round(share * last)] * 1e6 for share in (0.5, 0.99))
    return Speed(len(ordered) / seconds, p50, p99)
