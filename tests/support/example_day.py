"""The example day on the page about logs: what the installed daemon shows on a terminal.

The daemon runs at the real paths of a host, in namespaces of its own, against the emulator. What
takes hours on a real day happens at once; so each scene's times are moved to the time of day at
which it is set. To write the page anew, run in `tests`:

    python -m support.example_day
"""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from support.documentation import CHECKOUT
from support.programs import PATIENCE, REFRESHERD, emulator

PAGE = CHECKOUT / "docs" / "logs.md"

SCENES: Mapping[str, str] = {
    "start": "08:00:00",
    "refresh": "08:05:00",
    "outage": "10:40:00",
    "recovery": "10:42:17",
    "key refused": "13:05:00",
    "key replaced": "13:21:44",
    "reload refused": "16:30:00",
    "reload": "16:31:20",
    "stop": "18:00:00",
}
"""The scenes of the day, and when each begins."""

TIME = re.compile(r"\b\d\d:\d\d:\d\d\b")

BLOCK = re.compile(r"^```log\n(.*?)^```$", re.MULTILINE | re.DOTALL)

DSM = "127.0.0.1:9880"
COLUMNS = 100
INTERFACE_UP = 0x8914, struct.pack("16sh", b"lo", 1)
"""SIOCSIFFLAGS and IFF_UP for the loopback interface: netdevice(7)."""

CONFIG, KEY = Path("/etc/refresherd/config.toml"), Path("/etc/refresherd/payments.key")

CONFIGURATION = f"""\
[dsm]
endpoint = "http://{DSM}"

[refresh]
jitter = 0.0
retry_max = "1s"

[apps.payments]
api_key_file = "payments.key"

[[apps.payments.files]]
path = "/run/refresherd/payments.token"
"""

BILLING = '\n[apps.billing]\napi_key_file = "billing.key"\nrenew = "{}"\n'

IN_NAMESPACES = """
mount -t tmpfs none "$1"
cp -a /etc "$1/etc"
rm -rf "$1/etc/refresherd"
mkdir "$1/etc/refresherd"
mount --bind "$1/etc" /etc
mount -t tmpfs -o mode=755 none /run
mkdir /run/refresherd
exec "$2" -m support.example_day inside
"""

UNSHARE = ("unshare", "--mount", "--net")


def scenes() -> list[str]:
    """Live through the day, and return what the terminal showed in each scene.

    The host must have `unshare`, and allow root its namespaces.
    """
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [*UNSHARE, "sh", "-ec", IN_NAMESPACES, "sh", place, sys.executable],
            cwd=CHECKOUT / "tests",
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    return [moved(text, to) for text, to in zip(shown, SCENES.values(), strict=True)]


def moved(text: str, to: str) -> str:
    """Move all times of a scene, so that its first line has the time of day `to`."""
    first = TIME.search(text)
    assert first is not None
    shift = _time(to) - _time(first[0])
    return TIME.sub(lambda found: f"{_time(found[0]) + shift:%H:%M:%S}", text)


def on_page() -> list[str]:
    """Return the scenes on the page."""
    return BLOCK.findall(PAGE.read_text())


def comparable(scene: str) -> list[str]:
    """Return a scene's entries without what differs from day to day: times, and who comes first."""
    return sorted(re.split(r"\n(?=\S)", TIME.sub("…", scene.strip())))


def write_page() -> None:
    """Write the scenes of another day on the page."""
    written = iter(scenes())
    page = PAGE.read_text()
    assert len(on_page()) == len(SCENES), "the page needs a block of `log` for each scene"
    PAGE.write_text(BLOCK.sub(lambda _: f"```log\n{next(written)}```", page))


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%H:%M:%S")  # noqa: DTZ007  # a time of any day


class Daemon:
    """The daemon, and what its terminal has shown since the last `shown`."""

    def __init__(self) -> None:
        master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        environ = {"PATH": os.environ["PATH"], "NO_COLOR": "1", "TZ": "UTC", "LANG": "C.UTF-8"}
        self._process = subprocess.Popen([REFRESHERD, "run"], stderr=terminal, env=environ)
        os.close(terminal)
        self._text = ""
        threading.Thread(target=self._read, args=(master,), daemon=True).start()

    def shown(self, *words: str) -> str:
        """Return all that was shown, once these words were, and nothing follows any more."""
        deadline = time.monotonic() + PATIENCE
        before = ""
        while not all(word in before for word in words) or before != self._text:
            assert time.monotonic() < deadline, f"{words} are not all in:\n{self._text}"
            before = self._text
            time.sleep(0.2)
        self._text = ""
        return before

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Wait for the daemon, which was told to stop."""
        assert self._process.wait(PATIENCE) == 0

    def kill(self) -> None:
        """Let nothing of it remain."""
        self._process.kill()
        self._process.wait()

    def _read(self, master: int) -> None:
        # The terminal fails once the daemon has ended.
        with suppress(OSError):
            while data := os.read(master, 65536):
                self._text += data.decode().replace("\r\n", "\n")


def live() -> Iterator[str]:
    """Live through the day, in the namespaces; yield what each scene showed."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, *INTERFACE_UP)
    with emulator("--listen", DSM, "--lifetime", "600", "--apps", "2") as dsm:
        write(CONFIG, CONFIGURATION)
        write(KEY, dsm.api_keys[0])
        write(KEY.with_name("billing.key"), dsm.api_keys[1])
        daemon = Daemon()
        try:
            yield daemon.shown("started", "token refreshed")
            daemon.signal(signal.SIGUSR1)
            yield daemon.shown("token refreshed")
            yield from trouble(daemon)
            write(CONFIG, CONFIGURATION + BILLING.format("keep"))
            daemon.signal(signal.SIGHUP)
            yield daemon.shown("reload failed")
            write(CONFIG, CONFIGURATION + BILLING.format("auth"))
            daemon.signal(signal.SIGHUP)
            yield daemon.shown("reloaded", "token refreshed")
            daemon.signal(signal.SIGTERM)
            yield daemon.shown("stopped")
            daemon.end()
        finally:
            daemon.kill()


def trouble(daemon: Daemon) -> Iterator[str]:
    """Let DSM fail and recover, then let it refuse the key until it is replaced."""
    control("faults", {"status": 503, "times": 5})
    daemon.signal(signal.SIGUSR1)
    yield daemon.shown("refresh failed")
    yield daemon.shown("token refreshed")
    key = control("apps/reset-secret", {"app": "app-1"})["api_key"]
    daemon.signal(signal.SIGUSR1)
    yield daemon.shown("session_lost", "rejected", "output removed")
    write(KEY, key)
    yield daemon.shown("credential changed", "token refreshed")


def control(path: str, body: Mapping[str, object]) -> dict[str, str]:
    """Post to the emulator's control API."""
    url, data = f"http://{DSM}/control/{path}", json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=PATIENCE) as answer:  # the emulator's
        found: dict[str, str] = json.load(answer)
    return found


def write(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        json.dump(list(live()), sys.stdout)
    else:
        write_page()
