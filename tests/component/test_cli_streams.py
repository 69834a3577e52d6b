"""Commands whose standard output or error is full or closed, as they are started by real shells."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_daemon import FakeDaemon, fake_daemon

TOKEN = "a-token"


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """Serve a daemon that has a token for payments."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("REFRESHERD_SOCKET", str(path))
    with fake_daemon(path) as daemon:
        daemon.issue("payments", TOKEN)
        yield daemon


def shell(words: str, redirections: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its streams redirected."""
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
def test_output_that_is_lost_is_a_line_and_no_success(
    words: str, redirection: str, reason: str
) -> None:
    """A script that saves a token on a full disk must not go on as if it had one."""
    ended = shell(words, redirection)
    assert ended.returncode == 69
    command = words.split(maxsplit=1)[0]
    assert ended.stderr == f"refresherd {command}: cannot write to standard output: {reason}\n"


def test_who_prints_nothing_needs_no_output() -> None:
    """Daemons and cron jobs are started without one."""
    assert shell("wait payments", ">&- 2>&-").returncode == 0


def test_complaints_never_take_the_tokens_place() -> None:
    """In `token=$(refresherd token orders 2>&-)` they would become the token."""
    ended = shell("token orders --timeout 100ms", "2>&-")
    assert (ended.returncode, ended.stdout) == (64, "")


def test_a_programs_streams_are_those_that_the_command_was_given() -> None:
    """What was opened in the place of a closed one is the command's own."""
    ended = shell("exec payments -- sh -c 'echo lost; echo $?>&2'", ">&-")
    assert ended.returncode == 0
    assert ended.stderr.splitlines()[-1] != "0"
