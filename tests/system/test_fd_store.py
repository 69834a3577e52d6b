"""The installed daemon, stopped and killed: the next run resumes its sessions from the fd store."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from refresherd.adapters.state.fd_sessions import is_session
from support.programs import PATIENCE, REFRESHERD, Dsm, Workplace, emulator
from support.service_manager import ServiceManager, manager_at

LIFETIME = 20
"""Seconds; short, for tests in which a session is refreshed."""

START = """
import os, sys
fds, names, *command = sys.argv[1:]
passed = [int(fd) for fd in fds.split(",") if fd]
for number, fd in enumerate(passed):
    os.dup2(fd, 3 + number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(passed))}
os.environ["LISTEN_FDNAMES"] = names
os.execv(command[0], command)
"""
"""What systemd does with descriptors between fork and exec."""


class Host:
    """A host with a service manager, and one daemon with an app."""

    def __init__(self, directory: Path, dsm: Dsm) -> None:
        self.dsm = dsm
        self.log = directory / "log"
        self.token = directory / "payments.token"
        self.manager: ServiceManager = manager_at(directory)
        self.place = Workplace(directory, dsm)
        self.place.app("payments", f'[[apps.payments.files]]\npath = "{self.token}"\n')
        self.config = self.place.write()

    @contextmanager
    def daemon(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the daemon with the stored descriptors until its app has a token; then kill it."""
        self.manager.take()
        passed = [(fd, name) for name, fds in self.manager.stored.items() for fd in fds]
        # High numbers at first: the descriptors are moved to 3 and up in the new process.
        copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd, _ in passed]
        numbers, names = ",".join(map(str, copies)), ":".join(name for _, name in passed)
        command = [REFRESHERD, "run", "--config", str(self.config)]
        with self.log.open("ab") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", START, numbers, names, *command],
                stderr=stderr,
                pass_fds=copies,
                env={**os.environ, "NOTIFY_SOCKET": self.manager.address},
            )
        for fd in copies:
            os.close(fd)
        try:
            self.manager.until(lambda message: message.value("READY"))
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)

    def stop(self, process: "subprocess.Popen[bytes]") -> None:
        """Stop the daemon as `systemctl restart` does."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0

    def statistics(self) -> dict[str, Any]:
        """Return DSM's request counts."""
        url = f"{self.dsm.url}/control/statistics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310  # http://
            found: dict[str, Any] = json.load(answer)["apps"][0]
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == name]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Yield a host whose daemon is not started yet."""
    with emulator("--apps", "2") as dsm:
        yield from hosted(tmp_path, dsm)


@pytest.fixture
def busy_host(tmp_path: Path) -> Iterator[Host]:
    """Yield a host whose sessions are refreshed every two seconds."""
    with emulator("--lifetime", str(LIFETIME)) as dsm:
        for host in hosted(tmp_path, dsm):
            text = host.config.read_text()
            host.config.write_text(f"{text}\n[refresh]\nat = 0.1\njitter = 0.05\n")
            yield host


def hosted(directory: Path, dsm: Dsm) -> Iterator[Host]:
    """Yield a host."""
    host = Host(directory, dsm)
    yield host
    host.manager.close()


@pytest.mark.parametrize("killed", [True, False])
def test_a_restart_goes_on_with_the_session(host: Host, *, killed: bool) -> None:
    """`systemctl restart` and a crash: no new login, and consumers keep their token."""
    with host.daemon() as process:
        first = host.token.read_text()
        if not killed:
            host.stop(process)
    host.token.unlink()
    with host.daemon():
        assert host.token.read_text() == first
        assert host.statistics()["logins"] == 1
        (resumed,) = host.events("session resumed")
        assert (resumed["app"], resumed["generation"]) == ("payments", 1)
    assert first not in host.log.read_text()


def test_a_changed_key_is_not_overlooked(host: Host) -> None:
    """Otherwise the old key's session would go on under the new key."""
    with host.daemon():
        first = host.token.read_text()
    key = host.place.directory / "payments.key"
    key.write_text(f"\n{key.read_text()}\n")
    with host.daemon():
        assert host.token.read_text() == first
    key.write_text(host.dsm.api_keys[1])
    with host.daemon():
        assert host.token.read_text() != first
    warnings = [(line["app"], line["message"]) for line in host.events("warning")]
    assert warnings == [("payments", "the stored session is dropped: the credential has changed")]


def test_sessions_that_are_ended_on_stop_are_not_stored(host: Host) -> None:
    """`shutdown = "terminate"` leaves no session that the next run could take for alive."""
    host.config.write_text(f'shutdown = "terminate"\n{host.config.read_text()}')
    with host.daemon() as process:
        host.stop(process)
    host.manager.take()
    assert not any(is_session(name) for name in host.manager.stored)


def test_kills_at_any_instant_lose_no_session(busy_host: Host) -> None:
    """A login after each kill would burn the credential, and consumers would see gaps."""
    for number in range(6):
        with busy_host.daemon():
            time.sleep(0.3 + number * 0.117)
    assert busy_host.statistics()["logins"] == 1
    generations = [line["generation"] for line in busy_host.events("session resumed")]
    assert len(generations) == 5
    assert generations == sorted(generations)
    assert generations[-1] > 1
