"""A real daemon that refreshes and reloads many times, and what its process uses."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from support.programs import PATIENCE, Dsm, Workplace, running

OUTPUTS = """
[[apps.{0}.files]]
path = "{0}.token"
[[apps.{0}.sockets]]
path = "{0}.sock"
"""

HEAD = """
[http]
listen = []
[refresh]
at = {at}
retry_min = "100ms"
terminate_after = "1s"
"""

SETTLED = 1.5
"""Seconds after which old sessions are terminated, idle threads gone and all work done."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a process uses. `descriptors` leaves out TCP connections; `resident` is in KiB."""

    descriptors: int
    connections: int
    threads: int
    resident: int


class Enduring:
    """A daemon with so many apps in a directory, all of them the same app at DSM."""

    def __init__(self, directory: Path, dsm: Dsm, apps: int) -> None:
        self._directory = directory
        self._dsm = dsm
        self._apps = [f"app-{number}" for number in range(apps)]
        self._config = self._write(0)
        self._process: subprocess.Popen[str] | None = None

    def endure(self, refreshes: int, reloads: int) -> list[Held]:
        """Refresh and reload that often, in five parts; return what the process used after each."""
        with running("run", "--config", str(self._config)) as self._process:
            self._eventually(lambda: self._reached(1))
            held = []
            for part in range(5):
                for _ in range(max(1, refreshes // len(self._apps) // 5)):
                    self._refresh()
                for number in range(reloads // 5):
                    self._reload(part * reloads + number + 1)
                time.sleep(SETTLED)
                held.append(self._held())
            return held

    def _refresh(self) -> None:
        """Refresh every app once."""
        least = min(self._generations().values())
        self._signal(signal.SIGUSR1)
        self._eventually(lambda: self._reached(least + 1))

    def _reload(self, number: int) -> None:
        """Change every app's timing, and add or remove one app."""
        self._write(number)
        self._signal(signal.SIGHUP)
        self._eventually(lambda: ("guest" in self._generations()) == bool(number % 2))

    def _write(self, number: int) -> Path:
        place = Workplace(self._directory, self._dsm)
        for name in (*self._apps, *(["guest"] if number % 2 else [])):
            place.app(name, OUTPUTS.format(name))
        return place.write(HEAD.format(at=0.5 + 0.01 * (number % 7)))

    def _reached(self, generation: int) -> bool:
        found = self._generations()
        return bool(found) and all(found.get(name, 0) >= generation for name in self._apps)

    def _generations(self) -> dict[str, int]:
        """Return every app's generation from the API socket, nothing before it listens."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self._directory / "api.sock"))
            client.sendall(b"GET /v1/apps HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
            apps = json.loads(answer.partition(b"\r\n\r\n")[2])["apps"]
            return {app["name"]: app["generation"] for app in apps}
        return {}

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _held(self) -> Held:
        assert self._process is not None
        proc = Path(f"/proc/{self._process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        tcp = {
            f"socket:[{line.split()[9]}]" for line in (proc / "net/tcp").read_text().splitlines()
        }
        held = [_target(entry) for entry in (proc / "fd").iterdir()]
        return Held(
            descriptors=sum(target not in tcp for target in held),
            connections=sum(target in tcp for target in held),
            threads=int(status["Threads"]),
            resident=int(status["VmRSS"].split()[0]),
        )

    @staticmethod
    def _eventually(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 3 * PATIENCE
        while not holds():
            assert time.monotonic() < deadline, "the daemon does not do what it is asked"
            time.sleep(0.02)


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except FileNotFoundError:
        return "closed meanwhile"
