"""What the probes of the installed daemon tell while something is wrong, and afterwards."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresherd.engine.liveness import MAX_LAG
from support.lab import needs_root, needs_tool
from support.programs import PATIENCE, Dsm, Workplace, emulator, running

pytestmark = pytest.mark.timing

HEAD = '[http]\nlisten = ["127.0.0.1:0"]\n[refresh]\njitter = 0.0\nretry_max = "1s"\n'

LIFETIME = 20.0


class Daemon:
    """A running daemon with the app `payments`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.pid = process.pid
        until(lambda: log.read_text().count("\n") > 0)
        started = json.loads(log.read_text().splitlines()[0])
        self.url = f"http://{started['http']}"

    def get(self, path: str, timeout: float = PATIENCE) -> tuple[int, str]:
        """Return the status and the text of an answer. Raises OSError if none comes in time."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:  # noqa: S310  # the daemon's
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def reasons(self) -> list[str]:
        """Return why the app is not ready; all that tell of readiness must agree."""
        code, text = self.get("/readyz")
        verdict = json.loads(text)
        reasons: list[str] = verdict["apps"]["payments"]
        assert (code == 200) == verdict["ready"] == (not reasons)
        return reasons


@contextmanager
def daemon(directory: Path, dsm: Dsm, file: Path) -> Iterator[Daemon]:
    """Run a daemon, and yield it when its app is ready."""
    workplace, log = Workplace(directory, dsm), directory / "log"
    workplace.app("payments", f'[[apps.payments.files]]\npath = "{file}"\n')
    config = str(workplace.write(HEAD))
    with running("run", "--config", config, stderr=log) as process:
        started = Daemon(process, log)
        until(lambda: started.reasons() == [])
        yield started


def until(condition: Callable[[], bool]) -> None:
    """Return once a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def fault(dsm: Dsm, **fields: object) -> None:
    """Let the emulator answer with a fault, or, without fields, with none any more."""
    request = urllib.request.Request(  # noqa: S310  # the emulator's
        f"{dsm.url}/control/faults",
        json.dumps(fields).encode() if fields else None,
        method="POST" if fields else "DELETE",
    )
    urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310  # as above


def test_a_token_that_is_about_to_expire_makes_its_app_unready(tmp_path: Path) -> None:
    """An operator has the last tenth of its life to act; then it is ready again by itself."""
    with (
        emulator("--lifetime", str(LIFETIME)) as dsm,
        daemon(tmp_path, dsm, tmp_path / "token") as started,
    ):
        fault(dsm, status=503)
        os.kill(started.pid, signal.SIGUSR1)
        time.sleep(LIFETIME / 2)
        assert started.reasons() == [], "DSM may fail for as long as the outage budget"
        until(lambda: started.reasons() != [])
        (reason,) = started.reasons()
        assert reason.startswith(
            "the token is about to expire and could not be replaced: server_error: 503"
        )
        metrics = started.get("/metrics")[1]
        assert re.search(r'^refresherd_app_ready{app="payments"} 0', metrics, re.MULTILINE)
        until(lambda: started.reasons()[0].startswith("no valid token"))
        fault(dsm)
        until(lambda: started.reasons() == [])


def test_an_output_that_hangs_makes_its_app_unready(tmp_path: Path) -> None:
    """Its consumers do not get the new token, long before the write is given up."""
    needs_root()
    place, behind = tmp_path / "place", tmp_path / "behind"
    place.mkdir()
    behind.mkdir()
    with (
        emulator() as dsm,
        shown_by_process([needs_tool("bindfs"), "-f"], behind, place) as server,
        daemon(tmp_path, dsm, place / "token") as started,
    ):
        server.send_signal(signal.SIGSTOP)
        try:
            os.kill(started.pid, signal.SIGUSR1)
            until(lambda: started.reasons() != [])
            assert started.reasons() == [f"{place}/token does not hold the newest token"]
            assert started.get("/livez") == (200, "ok\n")
        finally:
            server.send_signal(signal.SIGCONT)
        until(lambda: started.reasons() == [])


@contextmanager
def shown_by_process(
    command: list[str], behind: Path, place: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Show a directory at a place through a process, which a test can stop."""
    server = subprocess.Popen([*command, str(behind), str(place)])
    try:
        until(place.is_mount)
        yield server
    finally:
        subprocess.run([needs_tool("umount"), "--lazy", str(place)], check=True)
        server.wait(PATIENCE)


def test_a_daemon_that_stood_still_is_not_called_alive(tmp_path: Path) -> None:
    """While it stands still nobody answers; a probe that waited learns why. Then all is well."""
    with emulator() as dsm, daemon(tmp_path, dsm, tmp_path / "token") as started:
        assert started.get("/livez") == (200, "ok\n")
        with ThreadPoolExecutor() as threads:
            os.kill(started.pid, signal.SIGSTOP)
            try:
                waiting = threads.submit(started.get, "/livez", 2 * PATIENCE)
                with pytest.raises(OSError, match="timed out"):
                    started.get("/livez", timeout=MAX_LAG + 2)
            finally:
                os.kill(started.pid, signal.SIGCONT)
            code, text = waiting.result()
        assert code == 503
        assert text.startswith("the event loop is 1")
        until(lambda: started.get("/livez") == (200, "ok\n"))
