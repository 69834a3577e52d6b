"""The commands that ask the daemon, installed, against the daemon as it is installed."""

import json
import os
import re
import signal
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

STRANGER = 4_000_000
"""A user that no host has."""

AS_A_STRANGER = f"""\
import locale, os, sys
from refresherd.cli import main, refresh, status, token, wait, watch
from refresherd.cli.client import messages
os.setgroups([])
os.setresgid({STRANGER}, {STRANGER}, {STRANGER})
os.setresuid({STRANGER}, {STRANGER}, {STRANGER})
sys.exit(main())
"""
"""All imports come first: whether others may read Python here, only the host knows."""

APPS = """
[apps.stranger]
api_key_env = "STRANGE_KEY"
"""

STRANGE_KEY = "OGYyYjdhMzYtNTljMi00ZjBlLTljNTItMmQxZjNlMGE3YzExOnNlc2FtZQ=="
"""An API key that the DSM doesn't know."""

ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"

HEAVY = {"aiohttp", "apscheduler", "asyncio", "msgspec", "prometheus_client", "rich", "structlog"}
"""What the daemon takes its time to import."""


@pytest.fixture(scope="module")
def dsm() -> Iterator[Dsm]:
    """Run a DSM."""
    with emulator("--lifetime", str(LIFETIME), "--apps", "2") as dsm:
        yield dsm


@pytest.fixture(scope="module")
def place(dsm: Dsm) -> Iterator[Workplace]:
    """Return a place for a daemon with two apps that DSM knows, and one that it doesn't."""
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
        assert ask(place, "wait", "payments", "orders").returncode == 0
        yield process


@pytest.fixture(scope="module")
def served(place: Workplace) -> Iterator[Workplace]:
    """Return the place with a daemon that several tests ask."""
    with daemon(place):
        yield place


def environ(place: Workplace) -> dict[str, str]:
    """Return what tells the commands where the daemon is."""
    return {"REFRESHERD_SOCKET": str(place.directory / "api.sock")}


def ask(place: Workplace, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return command(*words, environ=environ(place))


def answered(place: Workplace, *words: str) -> str:
    """Return what a command prints that succeeds."""
    done = ask(place, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def status(place: Workplace, app: str = "payments") -> dict[str, object]:
    """Return an app's status."""
    message = json.loads(answered(place, "status", app, "--json"))
    assert isinstance(message, dict)
    return message


def order(place: Workplace, what: str, body: str = "{}") -> None:
    """Order something of the emulator."""
    url = f"{place.dsm.url}/control/{what}"
    with urllib.request.urlopen(url, data=body.encode(), timeout=PATIENCE) as answer:  # noqa: S310  # loopback
        assert answer.status < 300


def accepted(place: Workplace, header: str) -> bool:
    """Return whether DSM takes a header for a live session's."""
    name, _, value = header.rstrip("\n").partition(": ")
    request = urllib.request.Request(  # noqa: S310  # loopback
        f"{place.dsm.url}/crypto/v1/keys", headers={name: value}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  # loopback
        return bool(answer.status == 200)


def test_a_token_opens_dsm_in_every_format(served: Workplace) -> None:
    """The point of it all: whatever a consumer likes to read, it gets through."""
    assert accepted(served, answered(served, "token", "payments", "--format", "header"))
    message = json.loads(answered(served, "token", "payments", "--format", "json"))
    raw = answered(served, "token", "payments")
    assert re.fullmatch(r"[A-Za-z0-9_-]{86}", raw)
    assert (message["app"], message["access_token"]) == ("payments", raw)
    env = answered(served, "token", "payments", "--format", "env")
    assert f"FORTANIX_ACCESS_TOKEN={raw}\n" in env
    client = answered(served, "token", "payments", "--format", "sdkms-cli")
    assert client == f"app-token={raw}\nend-point={served.dsm.url}\n"


def test_a_token_that_will_not_last_is_replaced_first(served: Workplace) -> None:
    """And one that no refresh could give is refused with the reason."""
    before = json.loads(answered(served, "token", "orders", "--format", "json"))
    time.sleep(2)
    least = f"{LIFETIME - 1}s"
    after = json.loads(answered(served, "token", "orders", "--format", "json", "--min-ttl", least))
    assert after["generation"] == before["generation"] + 1
    assert after["expires_in"] >= LIFETIME - 1
    refused = ask(served, "token", "orders", "--min-ttl", "10m")
    assert (refused.returncode, refused.stdout) == (69, "")
    assert "its tokens live for 60 s only, and 600 s were asked for" in refused.stderr


def test_the_status_tells_of_each_app(served: Workplace) -> None:
    """The good and the bad, in the configuration's order."""
    rows = answered(served, "status").splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [
        ["payments", "fresh"],
        ["orders", "fresh"],
        ["stranger", "rejected"],
    ]
    assert "30s" in rows[1]
    assert "401" in rows[3]
    assert [app["name"] for app in json.loads(answered(served, "status", "--json"))["apps"]] == [
        "payments",
        "orders",
        "stranger",
    ]


def test_what_is_not_there_is_told_by_exit_status_and_line(served: Workplace) -> None:
    """A script acts on the one, its author on the other."""
    rejected = ask(served, "token", "stranger", "--timeout", "25m")
    assert (rejected.returncode, rejected.stdout) == (69, "")
    assert "DSM refused the credential" in rejected.stderr
    unknown = ask(served, "token", "payment")
    assert unknown.returncode == 64
    assert unknown.stderr.endswith("there are: payments, orders, stranger\n")
    late = ask(served, "wait", "--timeout", "200ms")
    assert late.returncode == 75
    assert late.stderr.startswith("refresherd wait: stranger: no valid token (rejected)")
    nobody = command("token", "payments", "--socket", "/nowhere/api.sock")
    assert nobody.returncode == 69
    assert nobody.stderr.startswith("refresherd token: nothing answers on /nowhere/api.sock")


def test_a_refresh_is_made_now_and_shown(served: Workplace) -> None:
    """The generation counts it; a failure leaves the old token and says to try again."""
    before = status(served)["generation"]
    assert isinstance(before, int)
    row = answered(served, "refresh", "payments").splitlines()[1].split()
    assert (row[0], row[1]) == ("payments", "fresh")
    assert status(served)["generation"] == before + 1
    order(served, "faults", '{"operation": "reauth", "status": 503, "times": 1}')
    failed = ask(served, "refresh", "payments")
    assert failed.returncode == 75
    assert "retrying" in failed.stdout
    assert "503" in failed.stdout
    assert ask(served, "refresh", "payments").returncode == 0
    assert ask(served, "refresh", "stranger").returncode == 77


@AS_ROOT
def test_a_stranger_may_look_and_not_touch(served: Workplace) -> None:
    """The kernel says who asks; the line says it back, and who decides."""

    def as_stranger(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", AS_A_STRANGER, *words],
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
        assert f"uid {STRANGER} is not among" in refused.stderr
        assert "[apps.payments.access]" in refused.stderr
    socket = served.directory / "api.sock"
    socket.chmod(0o600)
    locked = as_stranger("status")
    socket.chmod(0o666)
    assert locked.returncode == 77
    assert f"uid {STRANGER} may not connect" in locked.stderr


def test_a_wait_begins_before_the_daemon_does(place: Workplace, tmp_path: Path) -> None:
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


def test_a_watch_outlives_the_daemons_death(place: Workplace, tmp_path: Path) -> None:
    """Killed and started again, it goes on where it was, with whole lines only."""
    alone = Workplace(tmp_path, place.dsm)
    alone.app("payments")
    config = str(alone.write())
    tokens = []
    with running("watch", "payments", environ=environ(alone), stderr=tmp_path / "err") as early:
        assert early.wait(PATIENCE) == 69
    with running("run", "--config", config) as first:
        answered(alone, "wait")
        with running("watch", "payments", environ=environ(alone), stderr=tmp_path / "log") as watch:
            tokens.append(json.loads(line_of(watch))["access_token"])
            answered(alone, "refresh", "payments")
            tokens.append(json.loads(line_of(watch))["access_token"])
            first.kill()
            first.wait()
            with running("run", "--config", config):
                tokens.append(json.loads(line_of(watch))["access_token"])
                watch.send_signal(signal.SIGINT)
                assert watch.wait(PATIENCE) == 130
    assert len(set(tokens)) == 3
    assert (tmp_path / "log").read_text().count("trying again") == 1


def test_a_program_takes_the_commands_place(served: Workplace) -> None:
    """The same process, with the token, and with the signals that programs expect."""
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
    token = answered(served, "token", "payments")
    assert out == f"{process.pid} {token} {served.dsm.url}\ny\n"
    assert (process.returncode, err) == (3, "")


def test_a_refresh_restarts_a_program_and_a_stop_stops_it(served: Workplace) -> None:
    """A service that reads its environment only lives on a daemon's tokens all the same."""
    line = ("exec", "payments", "--on-refresh", "restart", "--", "/bin/sh", "-c", SERVER)
    with running(*line, environ=environ(served)) as process:
        first = line_of(process)
        answered(served, "refresh", "payments")
        assert line_of(process) == "stopped\n"
        second = line_of(process)
        assert second.strip() == answered(served, "token", "payments")
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


def test_a_terminals_interrupt_reaches_a_program_once(served: Workplace) -> None:
    """Ctrl-C goes to both processes; passed on, it would be the second, which means `at once`."""
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
    """Return the environment of a command, without a coverage tool that would slow it down."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    return {**inherited, **environ(place)}


def test_asking_imports_nothing_of_the_daemon(served: Workplace) -> None:
    """Scripts ask in loops; the daemon's libraries take twenty times as long as the answer."""
    line = [sys.executable, "-X", "importtime", "-m", "refresherd"]
    for words in (["token", "payments"], ["status"], ["wait", "payments"], ["refresh", "payments"]):
        done = subprocess.run(
            [*line, *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
            env=unmeasured(served),
        )
        modules = set(re.findall(r"\| +(\w+)", done.stderr))
        assert "socket" in modules
        assert not modules & HEAVY
        # runpy, which only `python -m` needs, brings some of the others.
        assert words[0] != "token" or not modules & {"email", "http", "ssl", "dataclasses"}
