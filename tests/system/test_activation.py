"""The installed daemon on sockets that another process opened and passed to it."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.lab import needs_tool
from support.other_users import reachable
from support.programs import PATIENCE, REFRESHERD, Workplace, command, emulator

RAW = """
[[apps.payments.sockets]]
path = "payments.sock"
"""


def answer_to(path: Path, request: bytes = b"") -> bytes:
    """Return everything that a client of a socket reads, however long it has to wait."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        if request:
            client.sendall(request)
        pieces = []
        while piece := client.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)


GET = b"GET /v1/apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@contextmanager
def activated(config: Path, log: Path, *sockets: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let systemd-socket-activate listen, and start the daemon at the first connection."""
    tool = needs_tool("systemd-socket-activate")
    listen = [word for path in sockets for word in ("-l", str(path))]
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [tool, *listen, "--", REFRESHERD, "run", "--config", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not all(path.exists() for path in sockets):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_sockets_are_served_by_their_paths_and_left_in_their_place(tmp_path: Path) -> None:
    """Clients that connect before start-up wait, and the sockets remain after the daemon's end."""
    with emulator() as dsm, reachable() as directory:
        place = Workplace(directory, dsm)
        place.app("payments", RAW)
        config, log = place.write(), tmp_path / "log"
        api, raw, other = (directory / name for name in ("api.sock", "payments.sock", "other.sock"))
        with activated(config, log, api, raw, other):
            answer = answer_to(api, GET)
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["apps"][0]["name"] == "payments"
            waited = command("wait", "--socket", str(api))
            assert waited.returncode == 0, waited.stderr
            assert len(answer_to(raw)) == 86
        assert all(path.is_socket() for path in (api, raw, other))
        lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
        warnings = [json.loads(line).get("message", "") for line in lines]
        assert any(f"listens at {other}, which is neither api.path" in line for line in warnings)
