"""Commands whose standard output or error is full or closed, and a bug's traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresherd.cli.errors import print_redacted
from support.fake_daemon import FakeDaemon, fake_daemon

TOKEN = "a-token"

SECRET = "Zq3-" * 21 + "Zq"


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """Serve a daemon that has a token for payments."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("REFRESHERD_SOCKET", str(path))
    with fake_daemon(path) as daemon:
        daemon.issue("payments", TOKEN)
        yield daemon


def shell(words: str, redirections: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell, with its streams redirected."""
    script = f"exec {sys.executable} -m refresherd {words} {redirections}"
    return subprocess.run(
        ["/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )


@pytest.mark.parametrize(
    "words",
    [
        "token payments",
        "status",
        "status --json",
        "refresh payments",
        "watch payments",
        "schema",
        "--help",
    ],
)
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_lost_output_is_an_error(words: str, redirection: str, reason: str) -> None:
    """A script that saves a token on a full disk must not go on as if it had it."""
    ended = shell(words, redirection)
    assert ended.returncode == 69
    command = words.split(maxsplit=1)[0]
    assert ended.stderr == f"refresherd {command}: cannot write to standard output: {reason}\n"


def test_a_command_that_prints_nothing_needs_no_streams() -> None:
    """Some daemons and cron jobs are started without them."""
    assert shell("wait payments", ">&- 2>&-").returncode == 0


def test_errors_never_go_to_standard_output() -> None:
    """In `token=$(refresherd token orders 2>&-)` they would become the token."""
    ended = shell("token orders --timeout 100ms", "2>&-")
    assert (ended.returncode, ended.stdout) == (64, "")


def test_exec_passes_its_own_streams_on() -> None:
    """What the command opens in place of a closed stream is for itself only."""
    ended = shell("exec payments -- sh -c 'echo lost; echo $?>&2'", ">&-")
    assert ended.returncode == 0
    assert ended.stderr.splitlines()[-1] != "0"


def test_a_bugs_traceback_is_printed_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else is left to log it, and an error's text may hold what was sent."""
    error = ExceptionGroup("bugs", [ValueError(f"Authorization: Bearer {SECRET}")])
    print_redacted(type(error), error, None)
    printed = capsys.readouterr().err
    assert "ValueError: Authorization: Bearer ***" in printed
    assert "Zq3" not in printed
