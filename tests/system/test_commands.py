"""The installed commands that talk to the daemon, with the installed daemon."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.other_users import AS_ROOT, reachable
from support.programs import PATIENCE, REFRESHERD, Dsm, Workplace, command, emulator, running

LIFETIME = 60

OTHER_USER = 4_000_000
"""The uid of a user that no host has."""

AS_A_OTHER_USER = f"""\
import locale, os, sys
from refresherd.cli import refresh, status, token, wait, watch
from refresherd.cli.command_line import main
from refresherd.cli.client import messages
os.setgroups([])
os.setresgid({OTHER_USER}, {OTHER_USER}, {OTHER_USER})
os.setresuid({OTHER_USER}, {OTHER_USER}, {OTHER_USER})
sys.exit(main())
"""
"""All imports come first: this user may not be permitted to read the modules here."""

APPS = """
[apps.stranger]
api_key_env = "STRANGE_KEY"
"""

STRANGE_KEY = "OGYyYjdhMzYtNTljMi00ZjBlLTljNTItMmQxZjNlMGE3YzExOnNlc2FtZQ=="
"""An API key that the DSM does not know."""

ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"

HEAVY = {
    *("aiohttp", "apscheduler", "asyncio", "jinja2", "msgspec", "prometheus_client", "rich"),
    "structlog",
}
"""What the daemon needs, and takes long to import."""


@pytest.fixture(scope="module")
def dsm() -> Iterator[Dsm]:
    """Run a DSM."""
    with emulator("--lifetime", str(LIFETIME), "--apps", "2") as dsm:
        yield dsm


@pytest.fixture(scope="module")
def place(dsm: Dsm) -> Iterator[Workplace]:
    """Return a configuration of two apps that DSM knows, and one that it does not."""
    with reachable() as directory:
        workplace = Workplace(directory, dsm)
        workplace.app("payments")
        workplace.app("orders", key=1)
        workplace.sections.append(APPS)
        workplace.write()
        yield workplace


@contextmanager
def daemon(place: Workplace) -> Iterator[subprocess.Popen[str]]:
    """Run the daemon until the block ends."""
    config = str(place.directory / "config.toml")
    environ = {"STRANGE_KEY": STRANGE_KEY}
    with running("run", "--config", config, environ=environ) as process:
        assert run(place, "wait", "payments", "orders").returncode == 0
        yield process


@pytest.fixture(scope="module")
def served(place: Workplace) -> Iterator[Workplace]:
    """Run a daemon that several tests share."""
    with daemon(place):
        yield place


def environ(place: Workplace) -> dict[str, str]:
    """Return the variable that tells the commands where the daemon is."""
    return {"REFRESHERD_SOCKET": str(place.directory / "api.sock")}


def run(place: Workplace, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return command(*words, environ=environ(place))


def output(place: Workplace, *words: str) -> str:
    """Return the output of a command that must succeed."""
    done = run(place, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def status(place: Workplace, app: str = "payments") -> dict[str, object]:
    """Return an app's status."""
    document = json.loads(output(place, "status", app, "--json"))
    assert isinstance(document, dict)
    return document


def control(place: Workplace, page: str, body: str = "{}") -> None:
    """Post to one of the emulator's /control pages."""
    url = f"{place.dsm.url}/control/{page}"
    with urllib.request.urlopen(url, data=body.encode(), timeout=PATIENCE) as answer:  # noqa: S310  # loopback
        assert answer.status < 300


def accepted(place: Workplace, header: str) -> bool:
    """Return whether DSM accepts a header as that of a live session."""
    name, _, value = header.rstrip("\n").partition(": ")
    request = urllib.request.Request(  # noqa: S310  # loopback
        f"{place.dsm.url}/crypto/v1/keys", headers={name: value}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  # loopback
        return bool(answer.status == 200)


def test_token_in_every_format(served: Workplace) -> None:
    """Whichever format a consumer reads, DSM accepts the token in it."""
    assert accepted(served, output(served, "token", "payments", "--format", "header"))
    answer = json.loads(output(served, "token", "payments", "--format", "json"))
    raw = output(served, "token", "payments")
    assert re.fullmatch(r"[A-Za-z0-9_-]{86}", raw)
    assert (answer["app"], answer["access_token"]) == ("payments", raw)
    env = output(served, "token", "payments", "--format", "env")
    assert f"FORTANIX_ACCESS_TOKEN={raw}\n" in env
    client = output(served, "token", "payments", "--format", "sdkms-cli")
    assert client == f"app-token={raw}\nend-point={served.dsm.url}\n"


def test_token_is_refreshed_if_it_does_not_live_long_enough(served: Workplace) -> None:
    """A lifetime that no refresh could give is refused with the reason."""
    before = json.loads(output(served, "token", "orders", "--format", "json"))
    time.sleep(2)
    least = f"{LIFETIME - 1}s"
    after = json.loads(output(served, "token", "orders", "--format", "json", "--min-ttl", least))
    assert after["generation"] == before["generation"] + 1
    assert after["expires_in"] >= LIFETIME - 1
    refused = run(served, "token", "orders", "--min-ttl", "10m")
    assert (refused.returncode, refused.stdout) == (69, "")
    assert "its tokens live only 60 s, but 600 s were requested" in refused.stderr


def test_status_shows_each_app(served: Workplace) -> None:
    """Those in trouble first, and the others in the configuration's order."""
    rows = output(served, "status").splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [
        ["stranger", "rejected"],
        ["payments", "fresh"],
        ["orders", "fresh"],
    ]
    assert "401" in rows[1]
    assert "30s" in rows[2]
    assert [app["name"] for app in json.loads(output(served, "status", "--json"))["apps"]] == [
        "payments",
        "orders",
        "stranger",
    ]


def test_every_failure_has_an_exit_status_and_a_line(served: Workplace) -> None:
    """Scripts act on the status, their authors on the line."""
    rejected = run(served, "token", "stranger", "--timeout", "25m")
    assert (rejected.returncode, rejected.stdout) == (69, "")
    assert "was refused by http" in rejected.stderr
    unknown = run(served, "token", "payment")
    assert unknown.returncode == 64
    assert unknown.stderr.endswith("the apps are: payments, orders, stranger\n")
    late = run(served, "wait", "--timeout", "200ms")
    assert late.returncode == 75
    assert late.stderr.startswith("refresherd wait: stranger: no valid token (rejected)")
    nobody = command("token", "payments", "--socket", "/nowhere/api.sock")
    assert nobody.returncode == 69
    assert nobody.stderr.startswith("refresherd token: nothing answers on /nowhere/api.sock")


def test_refresh_is_done_at_once_and_shown(served: Workplace) -> None:
    """The generation grows; after a failure the old token stays, and status 75 says try again."""
    before = status(served)["generation"]
    assert isinstance(before, int)
    row = output(served, "refresh", "payments").splitlines()[1].split()
    assert (row[0], row[1]) == ("payments", "fresh")
    assert status(served)["generation"] == before + 1
    control(served, "faults", '{"operation": "reauth", "status": 503, "times": 1}')
    failed = run(served, "refresh", "payments")
    assert failed.returncode == 75
    assert "retrying" in failed.stdout
    assert "503" in failed.stdout
    assert run(served, "refresh", "payments").returncode == 0
    assert run(served, "refresh", "stranger").returncode == 77


@AS_ROOT
def test_another_user_may_read_the_status_but_no_token(served: Workplace) -> None:
    """The error names the user as the kernel does, and the setting that decides."""

    def as_stranger(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", AS_A_OTHER_USER, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={**os.environ, **environ(served)},
        )

    assert as_stranger("status").returncode == 0
    for words in (("token",), ("refresh",), ("watch",), ("wait", "--min-ttl", "10m")):
        refused = as_stranger(words[0], "payments", *words[1:])
        assert refused.returncode == 77
        assert f"uid {OTHER_USER} is not among" in refused.stderr
        assert "[apps.payments.access]" in refused.stderr
    # Not the daemon's own, whose mode it restores.
    path = served.directory / "locked.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen()
        locked = as_stranger("status", "--socket", str(path))
    assert locked.returncode == 77
    assert f"uid {OTHER_USER} may not connect" in locked.stderr


def test_wait_may_start_before_the_daemon(place: Workplace, tmp_path: Path) -> None:
    """A unit that is started too early still starts."""
    api = tmp_path / "api.sock"
    alone = Workplace(tmp_path, place.dsm)
    alone.app("payments")
    config = str(alone.write())
    line = [REFRESHERD, "wait", "payments", "--socket", str(api)]
    with subprocess.Popen(line) as waiting:
        time.sleep(0.3)
        assert waiting.poll() is None
        with running("run", "--config", config):
            assert waiting.wait(PATIENCE) == 0


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line of a process."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_watch_survives_the_daemons_death(place: Workplace, tmp_path: Path) -> None:
    """After a kill and a restart it goes on with the next token, in complete lines only."""
    alone = Workplace(tmp_path, place.dsm)
    alone.app("payments")
    config = str(alone.write())
    tokens = []
    with running("watch", "payments", environ=environ(alone), stderr=tmp_path / "err") as early:
        assert early.wait(PATIENCE) == 69
    with running("run", "--config", config) as first:
        output(alone, "wait")
        with running("watch", "payments", environ=environ(alone), stderr=tmp_path / "log") as watch:
            tokens.append(json.loads(line_of(watch))["access_token"])
            output(alone, "refresh", "payments")
            tokens.append(json.loads(line_of(watch))["access_token"])
            first.kill()
            first.wait()
            with running("run", "--config", config):
                tokens.append(json.loads(line_of(watch))["access_token"])
                watch.send_signal(signal.SIGINT)
                assert watch.wait(PATIENCE) == 130
    assert len(set(tokens)) == 3
    assert (tmp_path / "log").read_text().count("trying again") == 1


def test_exec_becomes_the_program(served: Workplace) -> None:
    """The same process id, with the token, and with default signal handlers."""
    script = "echo $$ $FORTANIX_ACCESS_TOKEN $FORTANIX_API_ENDPOINT; yes | head -1; exit 3"
    line = [REFRESHERD, "exec", "payments", "--", "/bin/sh", "-c", script]
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ(served)},
    ) as process:
        out, err = process.communicate(timeout=PATIENCE)
    token = output(served, "token", "payments")
    assert out == f"{process.pid} {token} {served.dsm.url}\ny\n"
    assert (process.returncode, err) == (3, "")


def test_exec_restarts_the_program_and_forwards_term(served: Workplace) -> None:
    """So a service that only reads its environment can live on the daemon's tokens."""
    line = ("exec", "payments", "--on-refresh", "restart", "--", "/bin/sh", "-c", SERVER)
    with running(*line, environ=environ(served)) as process:
        first = line_of(process)
        output(served, "refresh", "payments")
        assert line_of(process) == "stopped\n"
        second = line_of(process)
        assert second.strip() == output(served, "token", "payments")
        assert second != first
        process.terminate()
        assert line_of(process) == "stopped\n"
        assert process.wait(PATIENCE) == 4


SERVER = """
echo $FORTANIX_ACCESS_TOKEN
trap 'echo stopped; exit 4' TERM
while :; do sleep 0.05; done
"""

COUNTING = """
import signal, sys, time
count = 0
def interrupt(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, interrupt)
print("ready", flush=True)
while not count:
    time.sleep(0.01)
time.sleep(0.5)
print(f"interrupted {count} times", flush=True)
sys.exit(9)
"""


def test_ctrl_c_reaches_the_program_once(served: Workplace) -> None:
    """The terminal signals both processes; a forwarded one would be a second, meaning `now`."""
    line = ["exec", "payments", "--on-refresh", "HUP", "--", sys.executable, "-c", COUNTING]
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, REFRESHERD, *line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ(served)},
    ) as terminal:
        assert terminal.stdin is not None
        assert line_of(terminal) == "ready\n"
        terminal.stdin.write("\x03")
        terminal.stdin.flush()
        out, _ = terminal.communicate(timeout=PATIENCE)
    assert "interrupted 1 times" in out
    assert terminal.returncode == 9


def unmeasured(place: Workplace) -> dict[str, str]:
    """Return the environment of a command, without that of a coverage tool that would slow it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    return {**inherited, **environ(place)}


def test_client_commands_import_nothing_of_the_daemon(served: Workplace) -> None:
    """Scripts call them in loops; the daemon's libraries take twenty times as long to import."""
    line = [sys.executable, "-X", "importtime", "-m", "refresherd"]
    clients = (["token", "payments"], ["status"], ["wait", "payments"], ["refresh", "payments"])
    for words in (["--help"], *clients):
        done = subprocess.run(
            [*line, *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
            env=unmeasured(served),
        )
        modules = set(re.findall(r"\| +(\w+)", done.stderr))
        assert "argparse" in modules
        assert not modules & HEAVY
        # `refresherd token` must be the quickest; the others need some of these.
        assert words[0] != "token" or not modules & {"email", "http", "ssl", "dataclasses"}
