"""`exec` in a shell with job control, on a terminal."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_daemon import FakeDaemon, fake_daemon
from support.lab import needs_tool
from support.processes import pids

pytestmark = pytest.mark.usefixtures("measured_programs")

PATIENCE = 20.0


class Terminal:
    """A bash with job control on a terminal of its own."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self._seen = b""
        bash = [needs_tool("bash"), "--norc", "--noprofile", "-i"]
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *bash],  # noqa: S607  # wherever it is
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "PS1": "$ ", "TERM": "dumb"},
        )
        os.close(slave)

    def type(self, keys: str) -> None:
        """Type these keys."""
        os.write(self._master, keys.encode())

    def expect(self, text: str) -> None:
        """Return once that has been printed since the last such text."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self._seen:
            assert time.monotonic() < deadline, self._seen
            self._seen += os.read(self._master, 4096)
        self._seen = self._seen.partition(text.encode())[2]

    def close(self) -> None:
        """Hang up."""
        self.process.kill()
        os.close(self._master)
        self.process.wait()


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Yield a terminal whose shell finds a daemon that has a token for payments."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("REFRESHERD_SOCKET", str(path))
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    with fake_daemon(path) as daemon:
        daemon.issue("payments", "first")
        opened = Terminal()
        yield opened
        opened.close()
    assert isinstance(daemon, FakeDaemon)


def state(pid: int) -> str:
    """Return the letter that ps(1) shows for a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for(pid: int, letter: str) -> None:
    """Return once a process is in that state."""
    deadline = time.monotonic() + PATIENCE
    while state(pid) != letter:
        assert time.monotonic() < deadline, state(pid)
        time.sleep(0.01)


SCRIPT = "sh -c 'echo $PPID $$ > $PIDS; echo is-up; exec sleep 60'"

EXEC = f"{sys.executable} -m refresherd exec payments --on-refresh HUP -- {SCRIPT}\n"


def test_the_shells_job_control_works(terminal: Terminal, tmp_path: Path) -> None:
    """Ctrl-Z stops the program and gives the shell back, fg continues both, Ctrl-C ends them."""
    terminal.type(EXEC)
    terminal.expect("is-up\r\n")
    command, program = pids(tmp_path / "pids")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    assert (state(command), state(program)) == ("T", "T")
    terminal.type("fg\n")
    wait_for(command, "S")
    wait_for(program, "S")
    terminal.type("\x03")
    terminal.expect("$ ")
    terminal.type("echo status=$?\n")
    terminal.expect("status=130")


def test_a_stop_that_is_sent_stops_the_program_too(terminal: Terminal, tmp_path: Path) -> None:
    """A supervisor that pauses a job knows only the process that it started."""
    terminal.type(EXEC)
    terminal.expect("is-up\r\n")
    command, program = pids(tmp_path / "pids")
    os.kill(command, signal.SIGTSTP)
    terminal.expect("Stopped")
    assert (state(command), state(program)) == ("T", "T")
    os.kill(command, signal.SIGCONT)
    wait_for(program, "S")
    wait_for(command, "S")
    os.kill(command, signal.SIGTERM)
    terminal.type("fg\n")
    terminal.type("echo status=$?\n")
    terminal.expect("status=")
