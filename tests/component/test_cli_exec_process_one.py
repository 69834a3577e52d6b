"""`exec` as process 1 of a container."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_daemon import FakeDaemon, fake_daemon
from support.pid_namespaces import process_one, zombies
from support.processes import over
from support.programs_under_exec import until

EXEC = (sys.executable, "-m", "refresherd", "exec", "payments")

ORPHANS = "for n in 1 2 3; do (true & true & sleep 0.05 &); done; echo up >> $LOG; exec sleep 60"
"""A script whose grandchildren end without anybody who waits for them."""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a daemon that has a token for payments; return the log of programs."""
    monkeypatch.setenv("REFRESHERD_SOCKET", str(tmp_path / "api.sock"))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    with fake_daemon(tmp_path / "api.sock") as daemon:
        assert isinstance(daemon, FakeDaemon)
        daemon.issue("payments", "first")
        yield tmp_path / "log"


@pytest.mark.parametrize("options", [(), ("--on-refresh", "restart")])
def test_orphans_are_reaped_and_signals_take_effect(options: tuple[str, ...], log: Path) -> None:
    """A program that is process 1 itself reaps nobody, and TERM would do nothing to `sleep`."""
    with process_one([*EXEC, *options, "--", "sh", "-c", ORPHANS]) as pid:
        until(log, "up\n")
        time.sleep(0.1)  # for the last orphan to end
        deadline = time.monotonic() + 10
        while zombies(pid):
            assert time.monotonic() < deadline
        os.kill(pid, signal.SIGTERM)
        while not over(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
