"""Commands whose standard output or error is full or closed, and a bug's traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresherd.cli.errors import print_redacted
from support.fake_daemon import FakeDaemon, fake_daemon

pytestmark = pytest.mark.usefixtures("measured_programs")

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


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
"""The environment of Python on a host without any UTF-8 locale."""

ENCODINGS = [ASCII, {**ASCII, "PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii:strict"}]


@pytest.fixture
def odd(tmp_path: Path) -> bytes:
    """Return a directory whose name is not UTF-8, with a configuration that names a dash."""
    odd = os.fsencode(tmp_path) + b"/n\xe9"
    Path(os.fsdecode(odd)).mkdir()
    config = """
        [dsm]
        endpoint = "http://127.0.0.1:1"
        [http]
        listen = []
        [log]
        format = "console"
        [apps.payments]
        api_key_command = ["echo", "\u2013"]
        [[apps.payments.files]]
        path = "tok\u2013en"
    """
    Path(os.fsdecode(odd), "config.toml").write_text(config, encoding="utf-8")
    return odd


def encoded(environ: dict[str, str], *words: str | bytes) -> tuple[int, bytes, bytes]:
    """Run a command in an environment; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "refresherd", *words],
        capture_output=True,
        check=False,
        env={**os.environ, **environ},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("environ", ENCODINGS)
def test_text_that_the_locale_lacks_becomes_escapes(environ: dict[str, str], odd: bytes) -> None:
    """A path or DSM's text may hold any character, and a traceback would hide all of them."""
    status, out, err = encoded(environ, "check", "--config", odd + b"/config.toml")
    assert (status, err) == (0, b"")
    assert b"/n\\udce9/tok\\u2013en: raw" in out
    status, _, err = encoded(environ, "check", "--config", odd + b"/missing.toml")
    assert status == 78
    assert b"/n\\udce9/missing.toml: there is no such file" in err
    status, _, err = encoded(environ, "status", "--socket", odd + b"/api.sock")
    assert status == 69
    assert b"nothing answers on " in err
    status, out, err = encoded(environ, "once", "--timeout=2s", "--config", odd + b"/config.toml")
    assert status == 75
    assert b"refresh failed" in err
    assert b"Traceback" not in err
    assert encoded(environ, "n\u00f6", "--help")[0] == 64


@pytest.mark.parametrize("environ", ENCODINGS)
def test_the_daemons_json_keeps_its_bytes(environ: dict[str, str], fake: FakeDaemon) -> None:
    """JSON is UTF-8 in every locale, and so are paths in a configuration."""
    fake.set_status("payments", last_error="DSM \u2013 down")
    status, out, err = encoded(environ, "status", "--json")
    assert (status, err) == (0, b"")
    assert json.loads(out)["apps"][0]["last_error"] == "DSM \u2013 down"
    status, out, _ = encoded(environ, "status")
    assert (status, b"DSM " in out) == (0, True)
    assert encoded(environ, "token", "payments") == (0, TOKEN.encode(), b"")


@pytest.mark.parametrize("environ", ENCODINGS)
def test_programs_get_their_arguments_byte_for_byte(environ: dict[str, str]) -> None:
    """A file that a program is to read has a name of bytes, whatever the locale is."""
    words = (b"exec", b"payments", b"--", b"printf", b"%s", b"n\xe9\xe2\x80\x93")
    assert encoded(environ, *words) == (0, b"n\xe9\xe2\x80\x93", b"")
