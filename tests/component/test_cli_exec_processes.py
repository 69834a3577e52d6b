"""Everything that a program under `exec` starts, and every signal, by this kernel."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest

from refresherd.cli.child.processes import CAUGHT, descendants
from support.fake_daemon import FakeDaemon, fake_daemon
from support.processes import over, pids
from support.programs_under_exec import ended, running, until

pytestmark = pytest.mark.usefixtures("measured_programs")

WRAPPED = "sh -c 'echo $$ >> $LOG.pids; echo up >> $LOG; exec sleep 60'; true"
"""A shell that does not become its server, but waits for it."""

HANDLER = """
import os, signal, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
# Not print(), which fails if a signal comes while it prints for another one.
for number in map(int, sys.argv[2:]):
    signal.signal(number, lambda number, _: os.write(log, f"{int(number)}\\n".encode()))
os.write(log, b"up\\n")
while True:
    signal.pause()
"""
"""A Python program that logs each of these signals."""

NOT_CHLD = sorted(CAUGHT - {Signals.SIGCHLD})


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """Serve a daemon that has a token for payments."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("REFRESHERD_SOCKET", str(path))
    with fake_daemon(path) as daemon:
        daemon.issue("payments", "first")
        yield daemon


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file to which programs log what they see."""
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def servers(log: Path) -> list[int]:
    """Return the process ids of all servers that have been started."""
    return pids(log.with_suffix(".pids"))


def gone(pid: int) -> bool:
    """Return whether a process has ended, waiting for it a while."""
    deadline = time.monotonic() + 10
    while not over(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return over(pid)


def test_a_restart_and_a_stop_end_what_the_program_has_started(fake: FakeDaemon, log: Path) -> None:
    """The shell ends and not its server, which would hold the port and use the old token."""
    with running("--on-refresh", "restart", script=WRAPPED) as process:
        until(log, "up\n")
        for number in range(2, 5):
            fake.issue("payments", f"token-{number}")
            until(log, "up\n" * number)
            assert [over(pid) for pid in servers(log)] == [True] * (number - 1) + [False]
        process.terminate()
        assert ended(process) == (143, "")
    assert all(map(over, servers(log)))


@pytest.mark.usefixtures("fake")
def test_what_leaves_the_programs_session_is_ended_as_well(log: Path) -> None:
    """A daemon has no parent and no group in common with the program any more."""
    script = "setsid sh -c 'sleep 60 & echo $! > $LOG.pids'; exit 3"
    with running("--on-refresh", "HUP", script=script) as process:
        assert ended(process) == (3, "")
    (pid,) = servers(log)
    assert over(pid)


@pytest.mark.usefixtures("fake")
def test_no_program_outlives_a_killed_exec(log: Path) -> None:
    """Nobody would restart it, and a new exec would run a second one beside it."""
    script = "echo $$ > $LOG.pids; echo up > $LOG; exec sleep 60"
    with running("--on-refresh", "HUP", script=script) as process:
        until(log, "up\n")
        process.kill()
        process.wait()
    (pid,) = servers(log)
    assert gone(pid)


@pytest.mark.usefixtures("fake")
def test_every_signal_that_can_be_caught_reaches_the_program(log: Path) -> None:
    """RTMIN+3 of systemd or a cluster manager's PWR must not end `exec` and leave the program."""
    words = [sys.executable, "-m", "refresherd", "exec", "payments", "--on-refresh", "HUP", "--"]
    numbers = [str(int(number)) for number in NOT_CHLD]
    process = subprocess.Popen([*words, sys.executable, "-c", HANDLER, str(log), *numbers])
    try:
        until(log, "up\n")
        for count, number in enumerate(NOT_CHLD, start=1):
            process.send_signal(number)
            until(log, "\n".join(["up", *numbers[:count], ""]))
    finally:
        process.kill()
        process.wait()


def test_a_fault_of_its_own_still_ends_it() -> None:
    """If the signal of a fault were blocked, the process would spin instead of ending."""
    script = (
        "import ctypes; from refresherd.cli.child.processes import Processes\n"
        "with Processes(): ctypes.string_at(0)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -11


def test_descendants_are_found_whatever_their_names_are(tmp_path: Path) -> None:
    """A name may contain spaces and parentheses, which separate the fields in /proc."""
    odd = tmp_path / ") 1 (x"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen(["/bin/sh", "-c", f"'{odd}' 60 & wait"])
    try:
        deadline = time.monotonic() + 10
        while len(found := descendants(child.pid)) < 1:
            assert time.monotonic() < deadline
        assert descendants(os.getpid())[-2:] == [child.pid, *found]
        os.kill(found[0], signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
