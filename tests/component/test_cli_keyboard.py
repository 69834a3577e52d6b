"""`status --watch` on a terminal: keys, and the terminal afterwards."""

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresherd.cli.keyboard import Keyboard
from support.fake_daemon import FakeDaemon, fake_daemon

pytestmark = pytest.mark.usefixtures("measured_programs")

PATIENCE = 20.0


class Watch:
    """`refresherd status --watch` on a terminal of its own."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        self.before = termios.tcgetattr(self._slave)
        command = [sys.executable, "-m", "refresherd", "status", "--watch"]
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # noqa: S607  # wherever it is
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**os.environ, "TERM": "xterm"},
        )

    @property
    def modes(self) -> list[object]:
        """The terminal's settings now."""
        return list(termios.tcgetattr(self._slave))

    def type(self, keys: bytes) -> None:
        """Type some keys."""
        os.write(self._master, keys)

    def shown(self, text: bytes) -> bytes:
        """Return what is shown up to this text."""
        seen, deadline = b"", time.monotonic() + PATIENCE
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(self._master, 4096)
        return seen

    def watching(self) -> None:
        """Return once keys are noticed."""
        self.shown(b"payments")
        deadline = time.monotonic() + PATIENCE
        while self.modes == self.before:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Yield the command, whose daemon has one app."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("REFRESHERD_SOCKET", str(path))
    with fake_daemon(path) as daemon:
        assert isinstance(daemon, FakeDaemon)
        daemon.issue("payments")
        running = Watch()
        yield running
        running.close()


@pytest.mark.parametrize(("key", "status"), [(b"q", 0), (b"Q", 0), (b"\x03", 130)])
def test_q_and_ctrl_c_end_the_watch(key: bytes, status: int, watch: Watch) -> None:
    """The terminal is as before: a shell would echo nothing otherwise."""
    watch.watching()
    watch.type(key)
    assert watch.process.wait(PATIENCE) == status
    assert watch.modes == watch.before


def test_another_key_updates_the_table_and_is_not_echoed(watch: Watch) -> None:
    """Impatience is no reason to end, and an echo would spoil the table."""
    watch.watching()
    watch.type(b"x")
    assert b"x" not in watch.shown(b"payments")
    assert watch.process.poll() is None


def test_a_watch_that_is_terminated_restores_the_terminal(watch: Watch) -> None:
    """As `timeout 5m refresherd status --watch` does."""
    watch.watching()
    watch.process.send_signal(signal.SIGTERM)
    assert watch.process.wait(PATIENCE) == 143
    assert watch.modes == watch.before


def test_a_terminal_of_another_session_is_left_alone() -> None:
    """In the background, a change of its settings or a read would stop the command."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    os.write(master, b"q")
    with os.fdopen(slave) as stream, Keyboard(stream) as keyboard:
        assert keyboard.wait(0.01) == ""
        assert termios.tcgetattr(slave) == before
    os.close(master)
    with Keyboard(None) as keyboard:
        assert keyboard.wait(0.0) == ""
