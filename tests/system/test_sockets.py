"""The sockets of the installed daemon, used with common tools."""

import json
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from refresherd.cli.errors import Exit
from support.programs import PATIENCE, Dsm, Workplace, command, emulator, eventually, running

CURL = shutil.which("curl")
APP = """
[[apps.payments.files]]
path = "payments.token"
[[apps.payments.sockets]]
path = "payments.sock"
"""

pytestmark = pytest.mark.skipif(CURL is None, reason="takes curl")


@pytest.fixture(scope="module")
def dsm() -> Iterator[Dsm]:
    """Run a DSM whose tokens live for a minute."""
    with emulator("--lifetime", "60s") as dsm:
        yield dsm


@pytest.fixture
def workplace(tmp_path: Path, dsm: Dsm) -> Workplace:
    """Return a workplace for a daemon with one app."""
    workplace = Workplace(tmp_path, dsm)
    workplace.app("payments", APP)
    return workplace


@contextmanager
def daemon(workplace: Workplace) -> Iterator["subprocess.Popen[str]"]:
    """Run the daemon, and yield once it has its token."""
    token = workplace.directory / "payments.token"
    token.unlink(missing_ok=True)
    log = workplace.directory / "log"
    with running("run", "--config", str(workplace.write()), stderr=log) as process:
        eventually(token)
        deadline = time.monotonic() + PATIENCE
        while not raw(workplace.directory / "payments.sock"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process


def curl(workplace: Workplace, path: str, *options: str) -> str:
    """Return what curl prints."""
    api = str(workplace.directory / "api.sock")
    arguments = [str(CURL), "--silent", "--show-error", "--unix-socket", api, *options]
    done = subprocess.run(
        [*arguments, f"http://localhost/v1/apps{path}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return done.stdout


def raw(path: Path) -> str:
    """Return what a token socket sends, as `nc -U` shows it; "" if nobody answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return ""
        with client.makefile() as stream:
            return stream.read()


def test_curl_gets_tokens_status_and_refreshes(workplace: Workplace) -> None:
    """The file, the socket and the API hand out the same token."""
    with daemon(workplace):
        held = (workplace.directory / "payments.token").read_text()
        assert curl(workplace, "/payments/token?format=raw") == held
        assert raw(workplace.directory / "payments.sock") == held
        answer = json.loads(curl(workplace, "/payments/token"))
        assert (answer["app"], answer["access_token"], answer["generation"]) == (
            "payments",
            held,
            1,
        )
        assert 50 <= answer["expires_in"] <= 60
        (status,) = json.loads(curl(workplace, ""))["apps"]
        assert (status["state"], status["generation"]) == ("fresh", 1)
        status = json.loads(curl(workplace, "/payments/refresh", "--request", "POST"))
        assert status["generation"] == 2
        assert [output["current"] for output in status["outputs"]] == [True, True]
        renewed = (workplace.directory / "payments.token").read_text()
        assert renewed != held
        assert raw(workplace.directory / "payments.sock") == renewed


def test_curl_is_told_what_is_wrong(workplace: Workplace) -> None:
    """Scripts see the status code, people read a sentence."""
    with daemon(workplace):
        head, _, body = curl(workplace, "/payments/token?min_ttl=90", "--include").partition("\n\n")
        assert " 503 " in head
        assert re.search(r"^Retry-After: \d+$", head, re.MULTILINE)
        detail = json.loads(body)["detail"]
        assert detail == "its tokens live only 60 s, but 90 s were requested"
        code = ("--output", "/dev/null", "--write-out", "%{http_code}")
        assert curl(workplace, "/paymnts/token", *code) == "404"
        assert curl(workplace, "/payments/token?format=xml", *code) == "400"


@pytest.mark.timing
def test_a_watch_ends_with_the_daemon_and_leaves_no_socket(workplace: Workplace) -> None:
    """Otherwise curl would complain about a truncated answer."""
    arguments = [str(CURL), "--silent", "--no-buffer", "--unix-socket"]
    with daemon(workplace) as process:
        api = workplace.directory / "api.sock"
        watch = subprocess.Popen(
            [*arguments, str(api), "http://localhost/v1/apps/payments/token?watch=1"],
            stdout=subprocess.PIPE,
            text=True,
        )
        with watch:
            assert watch.stdout is not None
            assert json.loads(watch.stdout.readline())["generation"] == 1
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert watch.stdout.read() == ""
            assert watch.wait(PATIENCE) == 0
            assert process.wait(PATIENCE) == 0
            assert time.monotonic() - began < 5
    assert not api.exists()
    assert not (workplace.directory / "payments.sock").exists()


def test_a_killed_daemons_sockets_are_taken_over(workplace: Workplace) -> None:
    """Nobody has to clean up before the daemon starts again."""
    with daemon(workplace) as process:
        process.kill()
        process.wait(PATIENCE)
    assert (workplace.directory / "api.sock").is_socket()
    with daemon(workplace):
        held = (workplace.directory / "payments.token").read_text()
        assert curl(workplace, "/payments/token?format=raw") == held
        assert raw(workplace.directory / "payments.sock") == held


def test_a_second_daemon_says_that_there_is_one(workplace: Workplace) -> None:
    """The first daemon keeps its socket."""
    with daemon(workplace):
        second = command("run", "--config", str(workplace.directory / "config.toml"))
        assert second.returncode == Exit.UNAVAILABLE
        api = workplace.directory / "api.sock"
        assert f"cannot listen on {api}: another process answers there" in second.stderr
        assert "Traceback" not in second.stderr
        assert json.loads(curl(workplace, "/payments/token"))["generation"] == 1


def test_a_single_shot_serves_no_sockets(workplace: Workplace) -> None:
    """It would take them from a running daemon, or leave them without a server."""
    done = command("once", "--config", str(workplace.write()))
    assert done.returncode == Exit.OK
    assert (workplace.directory / "payments.token").exists()
    assert not (workplace.directory / "payments.sock").exists()
    assert not (workplace.directory / "api.sock").exists()


def test_a_daemon_out_of_descriptors_says_so_and_serves_who_waited(workplace: Workplace) -> None:
    """A limit that is too low is a matter for the operator, not a bug with a traceback."""
    sockets = [str(workplace.directory / name) for name in ("api.sock", "payments.sock")]
    log = workplace.directory / "log"
    with daemon(workplace) as process, ExitStack() as callers:
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        for path in sockets:
            callers.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        expected = [f'"socket":"{path}","message":"Too many open files' for path in sockets]
        deadline = time.monotonic() + PATIENCE
        while not all(one in log.read_text() for one in expected):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        assert raw(workplace.directory / "payments.sock")
        assert curl(workplace, "/payments/token?format=raw")
    assert "LimitNOFILE=" in log.read_text()
    assert "Traceback" not in log.read_text()
