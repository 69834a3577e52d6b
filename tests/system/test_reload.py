"""Signals to the installed daemon: what a reload changes, what it leaves alone, and floods."""

import json
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.programs import PATIENCE, Dsm, Workplace, command, emulator, running

RETRY_MIN = 0.2

OUTPUTS = """
[[apps.{0}.files]]
path = "{0}.token"
[[apps.{0}.sockets]]
path = "{0}.sock"
"""


@pytest.fixture
def dsm() -> Iterator[Dsm]:
    """Run a DSM with two apps."""
    with emulator("--lifetime", "60", "--apps", "2") as dsm:
        yield dsm


class Daemon:
    """A daemon that runs in a directory with two apps, `a` and `b`, which are two apps at DSM."""

    def __init__(self, directory: Path, dsm: Dsm) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.directory = directory
        self.dsm = dsm
        self.log = directory / "log"
        self.process: subprocess.Popen[str] | None = None
        self.workplace = Workplace(directory, dsm)
        self.app("a")
        self.app("b", key=1)
        self.config = self.write()

    def app(self, name: str, body: str = OUTPUTS, *, key: int = 0) -> None:
        """Configure an app."""
        self.workplace.app(name, body.format(name), key=key)

    def write(self, head: str = "") -> Path:
        """Write the present configuration."""
        http = f'[http]\nlisten = ["127.0.0.1:{self.port}"]\n'
        return self.workplace.write(f'{head}\n{http}[refresh]\nretry_min = "{RETRY_MIN}s"\n')

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self) -> list[dict[str, Any]]:
        """Let the daemon reload, and return its log up to the end of the reload."""
        before = len(self.logged())
        self.signal(signal.SIGHUP)
        eventually(lambda: self.logged("reloaded", "reload failed", since=before))
        return self.logged(since=before)

    def logged(self, *events: str, since: int = 0) -> list[dict[str, Any]]:
        """Return the log lines of these events, or of all."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        entries = [json.loads(line) for line in lines[since:]]
        return [one for one in entries if not events or one["event"] in events]

    def token(self, name: str) -> str:
        """Return the content of an app's file."""
        return (self.directory / f"{name}.token").read_text()

    def inodes(self) -> dict[str, tuple[int, int]]:
        """Return a value that changes when a file is replaced or a socket bound again."""
        served = [path for path in self.directory.iterdir() if path.suffix in (".token", ".sock")]
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in served}

    def requests(self, operation: str) -> int:
        """Return how often DSM received a request of this kind."""
        return len(control(self.dsm, f"requests?operation={operation}"))

    def metrics(self) -> dict[str, float]:
        """Scrape the metrics."""
        address = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def metrics_once(self, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """Return the metrics once they show something: an answer is shared for a moment."""
        eventually(lambda: holds(self.metrics()))
        return self.metrics()


def control(dsm: Dsm, path: str, body: object = None) -> Any:  # noqa: ANN401  # JSON
    """Read from the emulator's control endpoint, or post to it."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{dsm.url}/control/{path}", data, PATIENCE) as answer:  # noqa: S310  # loopback
        return json.load(answer)


def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def up(daemon: Daemon) -> Iterator[Daemon]:
    """Run a daemon until the block ends; all its apps have tokens before the block begins."""
    log, config = daemon.log, str(daemon.config)
    with running("run", "--config", config, stderr=log) as daemon.process:
        eventually(lambda: len(daemon.logged("token refreshed")) == 2)
        eventually(lambda: len(daemon.inodes()) == 5)
        forget = urllib.request.Request(f"{daemon.dsm.url}/control/requests", method="DELETE")  # noqa: S310  # loopback
        urllib.request.urlopen(forget, timeout=PATIENCE).close()  # noqa: S310  # loopback
        yield daemon
    assert daemon.process.returncode == 0
    assert daemon.logged("app crashed") == []


def test_a_reload_changes_what_changed_and_nothing_else(tmp_path: Path, dsm: Dsm) -> None:
    """One app goes, one comes, one gets another file: nothing else is done anew."""
    with up(Daemon(tmp_path, dsm)) as daemon:
        before, served = daemon.metrics(), daemon.inodes()
        assert 'refresherd_app_ready{app="a"}' in before
        b, others = daemon.workplace.sections[1], served.keys() - {"a.token", "a.sock"}
        daemon.workplace.sections = [b + '[[apps.b.files]]\npath = "b2.token"\n']
        daemon.app("c", key=0)
        daemon.write()
        (entry,) = (one for one in daemon.reload() if one["event"] == "reloaded")
        assert {entry[key] for key in ("started", "stopped", "retuned")} == {1}
        eventually(lambda: {"c.token", "c.sock", "b2.token"} <= daemon.inodes().keys())
        assert daemon.requests("auth") == 1
        assert daemon.requests("reauth") == 0
        assert {name: daemon.inodes()[name] for name in others} == {
            name: served[name] for name in others
        }
        assert daemon.token("b2") == daemon.token("b")
        assert not (tmp_path / "a.sock").exists()
        added = 'refresherd_sessions_terminated_total{app="c",result="failed"}'
        after = daemon.metrics_once(lambda metrics: added in metrics)
        assert not [name for name in after if 'app="a"' in name]
        stamp = "refresherd_config_last_reload_success_timestamp_seconds"
        assert after["refresherd_config_last_reload_successful"] == 1
        assert after[stamp] > before[stamp]


def test_streams_of_tokens_go_on_through_reloads_unless_their_app_is_gone(
    tmp_path: Path, dsm: Dsm
) -> None:
    """No edit of the configuration cuts off a consumer that watches."""
    with (
        up(Daemon(tmp_path, dsm)) as daemon,
        watching(daemon, "a") as a,
        watching(daemon, "b") as b,
    ):
        assert [next(a)["generation"], next(b)["generation"]] == [1, 1]
        daemon.workplace.sections[0] = daemon.workplace.sections[0].replace("[[", "at = 0.4\n[[", 1)
        daemon.write()
        daemon.reload()
        daemon.signal(signal.SIGUSR1)
        assert [next(a)["generation"], next(b)["generation"]] == [2, 2]
        daemon.workplace.sections = [daemon.workplace.sections[0].replace("a.key", "b.key")]
        daemon.write()
        daemon.reload()
        assert next(a)["generation"] == 3
        assert list(b) == []
    assert (tmp_path / "watch-a").read_text() == "", "it had no need to connect again"
    assert 'no app named "b"' in (tmp_path / "watch-b").read_text()


@contextmanager
def watching(daemon: Daemon, name: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Run `refresherd watch` and yield its lines as they come."""
    words = ("watch", name, "--socket", str(daemon.directory / "api.sock"))
    with running(*words, stderr=daemon.directory / f"watch-{name}") as process:
        assert process.stdout is not None
        yield map(json.loads, process.stdout)


def test_a_faulty_file_leaves_all_as_it_was(tmp_path: Path, dsm: Dsm) -> None:
    """Each fault is logged, Prometheus can warn, and the tokens go on."""
    with up(Daemon(tmp_path, dsm)) as daemon:
        before, served = daemon.metrics(), daemon.inodes()
        good = daemon.config.read_text()
        daemon.config.write_text(good.replace("[[apps.b.files]]", "[[apps.b.filse]]") + "x = y\n")
        assert [one["event"] for one in daemon.reload()] == ["reload failed"]
        daemon.config.write_text(good.replace("api_key_file", "at = 7\napi_key_file"))
        entries = daemon.reload()
        assert [one["event"] for one in entries] == ["reload failed"] * 2
        assert all(one["message"].startswith(f"{daemon.config}:") for one in entries)
        stamp = "refresherd_config_last_reload_success_timestamp_seconds"
        successful = "refresherd_config_last_reload_successful"
        after = daemon.metrics_once(lambda metrics: metrics[successful] == 0)
        assert after[stamp] == before[stamp]
        assert daemon.inodes() == served
        daemon.signal(signal.SIGUSR1)
        eventually(lambda: daemon.requests("reauth") == 2)
        daemon.config.write_text(good)
        assert daemon.reload()[-1]["event"] == "reloaded"
        daemon.metrics_once(lambda metrics: metrics[successful] == 1)


def test_a_replaced_key_is_logged_in_with(tmp_path: Path, dsm: Dsm) -> None:
    """The key is in the same file as before, so the configuration does not show the change."""
    with up(Daemon(tmp_path, dsm)) as daemon:
        first, token = daemon.token("a"), daemon.token("b")
        app = control(dsm, "apps")["apps"][1]["id"]
        renewed = control(dsm, "apps/reset-secret", {"app": app})
        (tmp_path / "b.key").write_text(renewed["api_key"])
        daemon.reload()
        eventually(lambda: daemon.token("b") != token)
        assert (daemon.requests("auth"), daemon.requests("reauth")) == (1, 0)
        assert daemon.token("a") == first


def test_a_reload_ends_the_wait_of_a_refused_credential(tmp_path: Path, dsm: Dsm) -> None:
    """The credential was repaired in DSM, which no file shows."""
    with up(Daemon(tmp_path, dsm)) as daemon:
        control(dsm, "faults", {"operation": "auth", "status": 401, "times": 1})
        control(dsm, "sessions/end", {"app": control(dsm, "apps")["apps"][0]["id"]})
        daemon.signal(signal.SIGUSR1)
        rejected = 'refresherd_app_state{app="a",state="rejected"}'
        eventually(lambda: daemon.metrics()[rejected])
        daemon.reload()
        eventually(lambda: daemon.metrics()[rejected] == 0)
        assert daemon.requests("auth") == 2


@pytest.mark.parametrize("shutdown", ["keep", "terminate"])
def test_sessions_of_apps_that_go_end_as_configured(
    tmp_path: Path, dsm: Dsm, shutdown: str
) -> None:
    """The new `shutdown` applies even if the same edit changes it."""
    with up(Daemon(tmp_path, dsm)) as daemon:
        del daemon.workplace.sections[0]
        daemon.write(f'shutdown = "{shutdown}"')
        daemon.reload()
        if shutdown == "terminate":
            eventually(lambda: daemon.requests("terminate") == 1)
        eventually(lambda: not (tmp_path / "a.token").exists())
    assert daemon.requests("terminate") == (2 if shutdown == "terminate" else 0)


def test_no_flood_of_signals_is_too_much(tmp_path: Path, dsm: Dsm) -> None:
    """Floods from start to stop, several signals at once: nothing unusual is logged."""
    with up(Daemon(tmp_path, dsm)) as daemon:
        began = time.monotonic()
        for _ in range(50):
            daemon.signal(signal.SIGHUP)
            daemon.signal(signal.SIGUSR1)
            time.sleep(0.02)
        eventually(lambda: len(daemon.logged("reloaded")) >= 2)
        renewals = daemon.requests("reauth")
        assert 2 <= renewals <= 2 * (1 + (time.monotonic() - began) / RETRY_MIN)
        assert daemon.requests("auth") == 0
        daemon.signal(signal.SIGTERM)
        assert daemon.process is not None
        while daemon.process.poll() is None:
            daemon.signal(signal.SIGHUP)
            daemon.signal(signal.SIGUSR1)
            time.sleep(0.001)
    events = {one["event"] for one in daemon.logged()}
    assert events == {"started", "token refreshed", "reloaded", "stopping", "stopped"}


@pytest.mark.timing
def test_a_second_stop_ends_the_daemon_at_once(tmp_path: Path, dsm: Dsm) -> None:
    """An operator who presses Ctrl-C again does not want to wait for a hanging DSM."""
    daemon = Daemon(tmp_path, dsm)
    daemon.write('shutdown = "terminate"')
    with running("run", "--config", str(daemon.config), stderr=daemon.log) as process:
        eventually(lambda: len(daemon.logged("token refreshed")) == 2)
        control(dsm, "faults", {"operation": "terminate", "hang": True})
        process.send_signal(signal.SIGINT)
        eventually(lambda: daemon.requests("terminate") == 2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
        assert time.monotonic() - began < 1


def test_signals_that_come_too_early_are_handled_later(tmp_path: Path, dsm: Dsm) -> None:
    """A deployment that reloads a daemon it has just started must not end it."""
    daemon = Daemon(tmp_path, dsm)
    daemon.app("c", HOOK.format(tmp_path))
    daemon.write()
    with running("run", "--config", str(daemon.config), stderr=daemon.log) as process:
        # Python itself needs a moment: a caller that cannot wait for it blocks the signals.
        eventually(lambda: blocked(Path(f"/proc/{process.pid}/status")))
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        eventually(lambda: daemon.logged("reloaded"))
        eventually((tmp_path / "seen").exists)
    assert process.returncode == 0
    assert not blocked(tmp_path / "seen"), "what hooks start may wait for such signals as well"


EARLY = """
import os, signal, sys
for number in (signal.SIGHUP, signal.SIGUSR1):
    os.kill(os.getpid(), number)
sys.path.remove(os.path.dirname(__file__))
del sys.modules["argparse"]
import argparse
"""
"""Stands in for the first module that any command needs, and sends the signals."""


def test_signals_wait_before_anything_is_imported(tmp_path: Path) -> None:
    """Imports take most of a start, and `pkill -HUP` or logrotate do not wait for them."""
    (tmp_path / "argparse.py").write_text(EARLY)
    environ = {"PYTHONPATH": str(tmp_path)}
    assert command("version", environ=environ).returncode == -signal.SIGHUP
    done = command("run", "--config", str(tmp_path / "missing.toml"), environ=environ)
    assert (done.returncode, done.stderr.count("no such file")) == (78, 1), done.stderr


HOOK = """
[[apps.c.hooks]]
command = ["sh", "-c", "cat /proc/self/status > {0}/seen.new && mv {0}/seen.new {0}/seen"]
"""


def blocked(status: Path) -> bool:
    """Return whether a process blocks HUP, by its status as in proc_pid_status(5)."""
    (mask,) = (line for line in status.read_text().splitlines() if line.startswith("SigBlk:"))
    return bool(int(mask.split()[1], 16) & 1 << signal.SIGHUP - 1)
