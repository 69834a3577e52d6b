"""A machine that runs refresherd as a systemd unit and a DSM on its loopback."""

import json
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import refresherd
from support.nspawn import Machine, booted, until

UNITS = Path(__file__).parents[2] / "systemd"

SERVICE, SOCKET = "refresherd.service", "refresherd-api.socket"
ADDED = "/run/systemd/system"
"""The directory for the units of a single test."""

PROGRAM = "/opt/refresherd/bin/refresherd"
PYTHON, LIBRARIES = "/opt/python", "/opt/libraries"

PYTHON_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"

# The tests' own Python and libraries, seen at other paths: home directories are hidden from units.
COMMAND = f"""\
#!/bin/sh
export LD_LIBRARY_PATH={PYTHON}/lib
exec {PYTHON}/bin/{PYTHON_NAME} "${{0%/bin/*}}/lib/start" "$@"
"""

# Libraries come last, as always: some are named as modules of Python's own.
START = f"""import sys
sys.path.append("{LIBRARIES}")
from refresherd.cli import main
sys.exit(main())
"""

DSM = "http://127.0.0.1:8080"

HEAD = f"""\
[http]
listen = []
[dsm]
endpoint = "{DSM}"
[refresh]
retry_max = "1s"
"""

APP = """\
[apps.{name}]
api_key_credential = "{name}"
[[apps.{name}.files]]
path = "/run/refresherd/{name}.token"
mode = "0644"
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine with the units installed and a running DSM."""

    machine: Machine

    def dsm(self, path: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  # JSON
        """Read from the DSM's control endpoint or, with a body, post to it."""
        data = () if body is None else ("--data", json.dumps(body))
        return json.loads(self.machine.run("curl", "-sS", *data, f"{DSM}/control/{path}").stdout)

    def statistics(self, name: str) -> Any:  # noqa: ANN401  # JSON
        """Return an app's request counts at the DSM."""
        apps = self.dsm("statistics")["apps"]
        return next(app for app in apps if app["name"] == name)

    def app(self, name: str, body: str = "", head: str = HEAD) -> None:
        """Configure one app, with an API key that systemd loads and a file for its token."""
        known = [app for app in self.dsm("apps")["apps"] if app["name"] == name]
        key = (known or [self.dsm("apps", {"name": name})])[0]["api_key"]
        self.machine.write(f"/etc/refresherd/{name}.key", key, 0o600)
        self.drop_in(f"[Service]\nLoadCredential={name}:/etc/refresherd/{name}.key\n", name)
        self.configure(head + APP.format(name=name) + body)

    def configure(self, text: str) -> None:
        """Write the configuration."""
        self.machine.write("/etc/refresherd/config.toml", text)

    def drop_in(self, text: str, name: str = "test", unit: str = SERVICE) -> None:
        """Add lines to a unit, as `systemctl edit` does."""
        self.machine.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)
        self.systemctl("daemon-reload")

    def unit(self, name: str, text: str) -> None:
        """Add a unit for one test."""
        self.machine.write(f"{ADDED}/{name}", text)
        self.systemctl("daemon-reload")

    def systemctl(self, *arguments: str) -> str:
        """Run systemctl, which must succeed, and return what it prints."""
        done = self.machine.run("systemctl", *arguments, check=False)
        assert done.returncode == 0, done.stderr + journal(self)
        return done.stdout.rstrip("\n")


def shown(host: Host, name: str, unit: str = SERVICE) -> str:
    """Return a property of a unit, as `systemctl show` has it."""
    return host.machine.ask("systemctl", "show", "--value", f"--property={name}", unit)


def journal(host: Host, unit: str = SERVICE) -> str:
    """Return what a unit has logged since its last start, and systemd's messages about it."""
    run = shown(host, "InvocationID", unit)
    fields = (f"_SYSTEMD_INVOCATION_ID={run}", "+", f"INVOCATION_ID={run}")
    return host.machine.ask("journalctl", "--no-pager", "--output=cat", *fields)


def wait_for(host: Host, name: str, value: str, unit: str = SERVICE) -> None:
    """Return once a property of a unit has a value."""
    until(lambda: shown(host, name, unit) == value, lambda: journal(host, unit))


def settled(host: Host) -> tuple[str, str, str]:
    """Return the service's state, its exit status and its number of restarts."""
    names = ("ActiveState", "ExecMainStatus", "NRestarts")
    state, status, restarts = (shown(host, name) for name in names)
    return state, status, restarts


def token(host: Host, socket: str = "/run/refresherd/api.sock") -> str:
    """Return the token from the API socket."""
    url = "http://localhost/v1/apps/payments/token?format=raw&wait=20"
    return host.machine.run("curl", "-sS", "--fail", "--unix-socket", socket, url).stdout


@contextmanager
def running_host(place: Path) -> Iterator[Host]:
    """Boot a machine, install the units as they are in the checkout, and start the DSM."""
    with bare_host(place, "/opt/refresherd") as host:
        install(host.machine)
        yield host


@contextmanager
def bare_host(place: Path, prefix: str) -> Iterator[Host]:
    """Boot a machine and start a DSM there, whose program is below `prefix`."""
    program, root = place / "program", place / "root"
    _lay_out(program)
    root.mkdir()
    python, libraries = Path(sys.base_prefix), Path(sysconfig.get_paths()["purelib"])
    with booted(root, {prefix: program, PYTHON: python, LIBRARIES: libraries}) as machine:
        host = Host(machine)
        listen = ("--listen", DSM.removeprefix("http://"), "--apps", "1")
        machine.run("systemd-run", "--unit=dsm", f"{prefix}/bin/refresherd", "emulator", *listen)
        until(
            lambda: machine.ask("curl", "-sS", f"{DSM}/control/apps"), lambda: journal(host, "dsm")
        )
        yield host


def install(machine: Machine) -> None:
    """Put the units, the user and the directory in their places."""
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.socket")):
        machine.write(f"/etc/systemd/system/{unit.name}", unit.read_text())
    for kind in ("sysusers", "tmpfiles"):
        text = (UNITS / f"refresherd.{kind}").read_text()
        machine.write(f"/etc/{kind}.d/refresherd.conf", text)
    machine.run("systemd-sysusers")
    machine.run("systemd-tmpfiles", "--create", "refresherd.conf")
    machine.run("systemctl", "daemon-reload")


def cleared(host: Host) -> None:
    """Stop the units and undo what a test has changed."""
    machine = host.machine
    machine.run("systemctl", "stop", SOCKET, SERVICE, check=False)
    machine.run("systemctl", "reset-failed", check=False)
    made = f"/run/refresherd/* /etc/refresherd /etc/systemd/system/refresherd*.d {ADDED}/*"
    machine.run("sh", "-c", f"rm -rf {made}")
    machine.run("curl", "-sS", "-X", "DELETE", f"{DSM}/control/faults")
    install(machine)


def _lay_out(program: Path) -> None:
    """Make the contents of /opt/refresherd: the package and its command."""
    shutil.copytree(Path(refresherd.__file__).parent, program / "lib" / "refresherd")
    (program / "bin").mkdir()
    (program / "lib" / "start").write_text(START)
    command = program / "bin" / "refresherd"
    command.write_text(COMMAND)
    command.chmod(0o755)
    program.chmod(0o755)
