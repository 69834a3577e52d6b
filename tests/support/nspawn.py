"""A throw-away machine: systemd as PID 1 over this host's files.

Its root is this host's root under an overlay in memory, its network only a loopback. It boots
in under a second.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.lab import needs_root, needs_tool

PATIENCE = 30.0
"""Seconds within which a healthy machine does what a test waits for, however slow the host."""

BOOTED = ("running", "degraded")

# A second machine in the same control group would take the first one's processes for its own.
# And --volatile= takes no root that is mounted as /.
BOOT = """\
for group in $GROUPS_OF_ITS_OWN; do echo $$ >"$group/cgroup.procs" || exit; done
mount --bind / "$1" && shift && exec "$@"
"""

POWER_OFF = signal.SIGRTMIN + 4
"""The signal at which systemd(1) powers off."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that runs; `leader` is its PID 1, as this host sees it."""

    leader: int

    @property
    def root(self) -> Path:
        """Its root directory, for access from outside. Absolute symbolic links lead out of it."""
        return Path(f"/proc/{self.leader}/root")

    def command(self, *argv: str) -> list[str]:
        """Return the command that runs a command inside, as root."""
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ["nsenter", f"--target={self.leader}", *namespaces, "--", *argv]

    def run(
        self, *argv: str, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end. A failure fails the test, unless `check` is false."""
        done = subprocess.run(
            self.command("timeout", f"{PATIENCE}", *argv),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
        return done

    def ask(self, *argv: str) -> str:
        """Return a command's output without the last newline, whether it fails or not."""
        return self.run(*argv, check=False).stdout.rstrip("\n")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, and create its directories."""
        target = self.root / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def read(self, path: str) -> str:
        """Return the content of a file inside, "" if there is none."""
        source = self.root / path.removeprefix("/")
        return source.read_text() if source.exists() else ""


def until(condition: Callable[[], object], message: Callable[[], str] = str) -> None:
    """Return once the condition holds. After `PATIENCE` the test fails with the message."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, message() or "it never came to hold"
        time.sleep(0.05)


@contextmanager
def booted(place: Path, shown: Mapping[str, Path]) -> Iterator[Machine]:
    """Boot a machine in which directories of this host are visible read-only, by their path inside.

    `place` is an empty directory for it. The test is skipped where the machine can't be had.
    """
    needs_root()
    needs_tool("systemd-nspawn")
    needs_tool("nsenter")
    name = f"refresherd-{uuid.uuid4().hex[:12]}"
    with control_groups(name) as groups:
        process = _boot(name, place, shown, groups)
        try:
            machine = Machine(_leader(process))
            until(lambda: machine.ask("systemctl", "is-system-running") in BOOTED)
            yield machine
        finally:
            _power_off(process)


def _boot(
    name: str, place: Path, shown: Mapping[str, Path], groups: list[Path]
) -> subprocess.Popen[bytes]:
    nspawn = (
        "systemd-nspawn",
        "--quiet",
        f"--directory={place}",
        f"--machine={name}",
        "--register=no",
        "--keep-unit",
        "--volatile=overlay",
        "--private-network",
        "--console=pipe",
        f"--uuid={uuid.uuid4().hex}",
        *(f"--bind-ro={source}:{target}" for target, source in shown.items()),
        # For the filters of system calls, devices and addresses that units set up.
        "--capability=CAP_BPF,CAP_SYS_ADMIN,CAP_NET_ADMIN,CAP_PERFMON",
        "--system-call-filter=bpf @memlock",
        "--boot",
        "systemd.unit=basic.target",
        "systemd.mask=timers.target",
    )
    # Should the tests be killed, the machine is as well. Its mounts are nobody else's.
    alone = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount")
    return subprocess.Popen(
        [*alone, "sh", "-c", BOOT, "sh", str(place), *nspawn],
        env={**os.environ, "GROUPS_OF_ITS_OWN": " ".join(map(str, groups))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _leader(process: subprocess.Popen[bytes]) -> int:
    """Return the machine's PID 1: the child of nspawn that is 1 in its namespace."""
    found: list[int] = []

    def appeared() -> bool:
        assert process.poll() is None, "systemd-nspawn ended at once"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        found[:] = [int(child) for child in children if _innermost_pid(child) == "1"]
        return bool(found)

    until(appeared)
    return found[0]


def _innermost_pid(pid: str) -> str:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return next(line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:"))


def _power_off(process: subprocess.Popen[bytes]) -> None:
    try:
        os.kill(_leader(process), POWER_OFF)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()


@contextmanager
def control_groups(name: str) -> Iterator[list[Path]]:
    """Make a control group of this name in every hierarchy; remove it with everything below it."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    made = [Path(fields[1]) / name for fields in mounts if fields[2] in ("cgroup", "cgroup2")]
    try:
        for group in made:
            group.mkdir()
            # Version 1 lets no process into a group that may use no CPU.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if (group.parent / "cpuset.sched_load_balance").exists():
                    shutil.copyfile(group.parent / setting, group / setting)
        yield made
    finally:
        for group in made:
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
