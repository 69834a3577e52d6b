"""What this host lacks when the installed daemon starts or reloads, and comes later."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.lab import needs_tool
from support.programs import PATIENCE, REFRESHERD, Dsm, Workplace, command, emulator, eventually

GOOD = '[[apps.good.files]]\npath = "good.token"\n'

TROUBLED = """
[apps.key]
api_key_file = "keys/later.key"
[apps.program]
api_key_command = ["{0}/later.sh"]
[apps.directory]
api_key_file = "good.key"
[[apps.directory.files]]
path = "later/token"
[[apps.directory.sockets]]
path = "later/socket"
[apps.variable]
api_key_env = "REFRESHERD_TEST_UNSET"
[apps.authority]
endpoint = "https://127.0.0.1:9"
api_key_file = "good.key"
ca_file = "gone.pem"
[apps.certificate]
endpoint = "https://127.0.0.1:9"
app_id = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
cert_file = "gone.crt"
key_file = "gone.pem"
[apps.credential]
api_key_credential = "gone"
"""

AT_ONCE = 5.0
"""Seconds within which an app goes on, on a busy machine; looks are up to two seconds apart."""


@pytest.fixture(scope="module")
def dsm() -> Iterator[Dsm]:
    """Run a DSM with an app."""
    with emulator("--lifetime", "60", "--apps", "1") as dsm:
        yield dsm


class Daemon:
    """A daemon that is to be run in a directory, with one app `good`."""

    def __init__(self, directory: Path, dsm: Dsm) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.workplace = Workplace(directory, dsm)
        self.workplace.app("good", GOOD)
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, more: str = "", head: str = "") -> Path:
        """Write the configuration with more apps, and return its path."""
        self.workplace.sections[1:] = [more.format(self.directory)]
        refresh = '[refresh]\nretry_max = "10m"\nretry_min = "100ms"\n'
        return self.workplace.write(f"{head}[http]\nlisten = []\n{refresh}")

    @contextmanager
    def running(self, *options: str, stdin: str = "") -> Iterator[None]:
        """Run the daemon until the block ends."""
        environ = {k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [REFRESHERD, "run", *options],
                stdin=subprocess.PIPE,
                stderr=log,
                cwd=self.directory,
                env=environ,
            )
        assert self.process.stdin is not None
        self.process.stdin.write(stdin.encode())
        self.process.stdin.close()
        try:
            yield
        finally:
            self.process.terminate()
            assert self.process.wait(PATIENCE) == 0
            self.process = None

    def reload(self) -> None:
        """Let the daemon reload."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        entries = map(json.loads, self.log.read_text().splitlines())
        return [one for one in entries if one["event"] == event]

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Return the apps' statuses by name."""
        done = command("status", "--json", "--socket", str(self.directory / "api.sock"))
        return {app["name"]: app for app in json.loads(done.stdout)["apps"]}

    def ready(self, *names: str) -> bool:
        """Return whether these apps are ready."""
        return all(self.statuses()[name]["ready"] for name in names)


@pytest.fixture
def daemon(tmp_path: Path, dsm: Dsm) -> Daemon:
    """Return a daemon that does not run yet."""
    return Daemon(tmp_path, dsm)


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return once the condition holds; the test fails after these seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("when", ["start", "reload"])
def test_what_the_host_lacks_stops_its_own_app_alone(daemon: Daemon, when: str) -> None:
    """The others are served; each app in trouble says what it lacks, where, and what helps."""
    config = daemon.write(TROUBLED if when == "start" else "")
    with daemon.running("--config", str(config)):
        eventually(daemon.directory / "good.token")
        if when == "reload":
            daemon.write(TROUBLED)
            daemon.reload()
            until(lambda: daemon.logged("reloaded"))
        lacking = ("key", "program", "variable", "authority", "certificate", "credential")
        until(lambda: all(daemon.statuses()[name]["last_error"] for name in lacking))
        found = daemon.statuses()
        assert found["good"]["ready"]
        here = daemon.directory
        for name, reason, lacks, cure in (
            ("key", "credential", f"api_key_file {here}/keys/later.key", "create it"),
            ("program", "credential", f"api_key_command {here}/later.sh", "install it"),
            ("variable", "credential", "api_key_env REFRESHERD_TEST_UNSET", "set it, and restart"),
            ("authority", "tls", f"ca_file {here}/gone.pem", "create it"),
            ("certificate", "credential", f"cert_file {here}/gone.crt", "create it"),
            ("credential", "credential", "api_key_credential gone", "add LoadCredential="),
        ):
            error = found[name]["last_error"]
            assert found[name]["state"] == "starting"
            assert error.startswith(f"{reason}: {lacks}: ")
            assert cure in error
            (why,) = found[name]["not_ready_because"]
            assert lacks in why
        (of_file, of_socket) = found["directory"]["not_ready_because"]
        assert "create its directory" in of_file
        assert f"there is no directory {here}/later; create it" in of_socket
        table = command("status", "directory", "--socket", str(here / "api.sock")).stdout
        assert "create its directory" in table
        warned = "\n".join(entry["message"] for entry in daemon.logged("warning"))
        assert f'apps.key.api_key_file: "{here}/keys/later.key" does not exist' in warned
        assert daemon.process is not None
        assert daemon.process.poll() is None


@pytest.mark.timing
def test_each_app_goes_on_as_soon_as_its_thing_is_there(daemon: Daemon) -> None:
    """A wait of up to `retry_max`, here ten minutes, ends with the file's appearance."""
    config = daemon.write(TROUBLED)
    with daemon.running("--config", str(config)):
        eventually(daemon.directory / "good.token")
        # Some failures, so that the next attempt is far off.
        until(lambda: daemon.statuses()["key"]["consecutive_failures"] > 4)
        keys = daemon.directory / "keys"
        keys.mkdir()
        key = (daemon.directory / "good.key").read_text()
        later = keys / "later.key"
        later.touch(mode=0o600)
        later.write_text(key[:40])
        until(
            lambda: "does not look like an API key" in str(daemon.statuses()["key"]["last_error"])
        )
        later.write_text(key)
        program = daemon.directory / "later.sh"
        program.write_text(f"#!/bin/sh\ncat '{later}'\n")
        program.chmod(0o755)
        (daemon.directory / "later").mkdir()
        until(lambda: daemon.ready("key", "program"), AT_ONCE)
        until(lambda: daemon.ready("directory"), 10 + AT_ONCE)
        assert not daemon.logged("app crashed")


@pytest.mark.timing
def test_a_ca_file_is_read_as_soon_as_it_is_there(tmp_path: Path) -> None:
    """It may be missing at first, then broken, and then another host's."""
    with emulator("--lifetime", "60", "--apps", "1", "--tls") as dsm, emulator("--tls") as other:
        assert dsm.ca_file is not None
        assert other.ca_file is not None
        daemon = Daemon(tmp_path, dsm)
        ca_file = tmp_path / "later.pem"
        daemon.workplace.sections[0] = daemon.workplace.sections[0].replace(
            "api_key_file", f'ca_file = "{ca_file}"\napi_key_file', 1
        )
        with daemon.running("--config", str(daemon.write())):
            until((tmp_path / "api.sock").exists)
            until(lambda: daemon.statuses()["good"]["consecutive_failures"] > 4)
            ca_file.write_bytes(b"")
            until(lambda: "holds no CA certificate" in daemon.statuses()["good"]["last_error"])
            ca_file.write_bytes(other.ca_file.read_bytes())
            until(lambda: "holds no CA" not in daemon.statuses()["good"]["last_error"])
            ca_file.write_bytes(dsm.ca_file.read_bytes())
            until(lambda: daemon.ready("good"), AT_ONCE)


def test_half_a_key_is_not_sent_to_dsm(daemon: Daemon) -> None:
    """Each refused login brings DSM closer to resetting the secret."""
    half = daemon.directory / "half.key"
    half.touch(mode=0o600)
    half.write_text((daemon.directory / "good.key").read_text()[:40])
    config = daemon.write('[apps.half]\napi_key_file = "half.key"\n')
    with daemon.running("--config", str(config)):
        eventually(daemon.directory / "good.token")
        until(lambda: daemon.statuses()["half"]["last_error"])
        assert daemon.statuses()["half"]["state"] == "starting"
        assert daemon.statuses()["half"]["last_error"].startswith("credential: ")


def test_once_waits_for_what_the_host_lacks(daemon: Daemon) -> None:
    """In an init container the key may be mounted a moment later; 75 means: try again."""
    config = daemon.write('[apps.key]\napi_key_file = "later.key"\n')
    done = command("once", "--config", str(config), "--timeout", "1s")
    assert done.returncode == 75
    assert done.stdout == "good: done\n"
    assert f"api_key_file {daemon.directory}/later.key: No such file" in done.stderr
    later = daemon.directory / "later.key"
    later.touch(mode=0o600)
    later.write_text((daemon.directory / "good.key").read_text())
    assert command("once", "--config", str(config)).returncode == 0


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('state_dir = "gone/state"\n', "cannot be used: No such file or directory"),
        ('[api]\npath = "gone/api.sock"\n', "there is no directory"),
        ('[api]\npath = "api.sock"\ngroup = "no-such-group"\n', "no group 'no-such-group'"),
    ],
)
def test_what_the_daemon_itself_lacks_ends_it_with_69(
    daemon: Daemon, head: str, message: str
) -> None:
    """There is no app to blame. A service manager starts it again, unlike after 78."""
    config = daemon.write(head=head)
    done = command("run", "--config", str(config))
    assert done.returncode == 69
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("refresherd run: ")]
    assert message in line
    assert "Traceback" not in done.stderr
    assert command("check", "--config", str(config)).returncode == 78


def test_an_address_in_use_ends_it_with_69(daemon: Daemon) -> None:
    """It may be the daemon's predecessor, which is still stopping."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = daemon.write()
        port = other.getsockname()[1]
        config.write_text(config.read_text().replace("[]", f'["127.0.0.1:{port}"]', 1))
        done = command("run", "--config", str(config))
        assert done.returncode == 69
        assert f"cannot listen on 127.0.0.1:{port}: " in done.stderr


def test_a_configuration_may_come_from_standard_input(daemon: Daemon) -> None:
    """Paths in it are relative to the working directory; it cannot be read a second time."""
    text = daemon.write().read_text()
    with daemon.running("--config", "-", stdin=text):
        eventually(daemon.directory / "good.token")
        daemon.reload()
        until(lambda: daemon.logged("reload failed"))
        (failed,) = daemon.logged("reload failed")
        assert failed["message"] == (
            "the configuration was read from standard input, which has no more to read; restart "
            "refresherd to change it"
        )


def test_faults_on_standard_input_name_a_dash(daemon: Daemon) -> None:
    """They name the file as it was given; closed standard input is no traceback."""
    text = daemon.write().read_text()

    def check(*options: str, stdin: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [REFRESHERD, "check", "--config", "-", *options],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=daemon.directory,
            timeout=PATIENCE,
        )

    assert check(stdin=text).returncode == 0
    assert "good: an API key in a file" in check("--offline", stdin=text).stdout
    faulty = check(stdin=f"colour = 1\n{text}")
    assert faulty.returncode == 78
    assert faulty.stderr.startswith("-:1: colour: unknown key")
    closed = subprocess.run(
        ["/bin/sh", "-c", f"exec '{REFRESHERD}' check --config - <&-"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (closed.returncode, closed.stderr) == (
        78,
        "-: cannot be read: standard input is closed\n",
    )


def test_an_offline_check_looks_at_nothing_of_this_host(daemon: Daemon) -> None:
    """The paths of other hosts may lead anywhere here: into a filesystem that hangs, say."""
    strace = needs_tool("strace")
    config = daemon.write(TROUBLED)
    trace = daemon.directory / "trace"
    traced = (strace, "-f", "-e", "trace=%file", "-o", str(trace))
    done = subprocess.run(
        [*traced, REFRESHERD, "check", "--offline", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in trace.read_text().splitlines() if str(daemon.directory) in line]
    assert [line for line in lines if "config.toml" in line], "it reads the configuration"
    looked = [line for line in lines if "config.toml" not in line and "getcwd" not in line]
    assert looked == []
