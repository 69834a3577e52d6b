"""Processes of other users that talk to a socket."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="takes other users' identities")

BECOME = """\
import os, socket, sys
path, uid, gid, groups, unit, before = sys.argv[1:]
if unit:
    with open(unit + "/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))
if uid:
    os.setgroups([int(group) for group in groups.split(",") if group])
    exec(before)
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
def dial():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection
"""

STAY = """
print("ready", flush=True)
sys.stdin.read()
"""

CONNECT = "connection = dial()"

ASK = """
connection = dial()
if {request!r}:
    connection.sendall({request!r})
while received := connection.recv(65536):
    sys.stdout.write(received.decode())
"""


@contextmanager
def reachable() -> Iterator[Path]:
    """Yield a directory that every user may enter; pytest's own are private."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextmanager
def unit_group(name: str) -> Iterator[Path]:
    """Make a control group as systemd does for a unit; skip the test if that is not allowed."""
    slice_ = _unified() / "refresherdtest.slice"
    unit = slice_ / name
    try:
        unit.mkdir(parents=True)
    except OSError:
        pytest.skip("takes the right to make control groups")
    try:
        yield unit
    finally:
        unit.rmdir()
        slice_.rmdir()


def _unified() -> Path:
    """Return where control groups of version 2 are mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    places = (Path(fields[1]) for fields in mounts if fields[2] == "cgroup2")
    return next(places, Path("/sys/fs/cgroup"))


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a process: ids as text, "" for the test's own.

    `unit` is a unit_group; `before` is Python that runs before the user changes.
    """

    uid: str = ""
    gid: str = ""
    groups: str = ""
    unit: str = ""
    before: str = ""

    def command(self, script: str, path: Path) -> list[str]:
        """Return the command that runs a script with this identity."""
        identity = (self.uid, self.gid or self.uid, self.groups, self.unit, self.before)
        return [sys.executable, "-S", "-c", BECOME + script, str(path), *identity]


US = Identity()


@contextmanager
def other_process(
    path: Path, doing: str = CONNECT, who: Identity = US
) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that uses the socket, and stays until the block ends.

    `doing` is Python; it may call `dial()` for a new connection.
    """
    process = subprocess.Popen(
        who.command(doing + STAY, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def answer(path: Path, request: str, who: Identity = US) -> str:
    """Return everything that a process reads after sending a request, until end of file."""
    done = subprocess.run(
        who.command(ASK.format(request=request.encode()), path),
        capture_output=True,
        timeout=30,
        check=True,
    )
    return done.stdout.decode()


@contextmanager
def open_to_all() -> Iterator[socket.socket]:
    """Yield a socket that listens where everybody may connect."""
    with reachable() as directory, socket.socket(socket.AF_UNIX) as listening:
        path = directory / "s"
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o666)
        yield listening


@contextmanager
def caller(
    listening: socket.socket, uid: str = "", gid: str = "", groups: str = "", become: str = ""
) -> Iterator[tuple[socket.socket, "subprocess.Popen[str]"]]:
    """Start a process that connects, and yield the accepted socket and the process."""
    path = Path(listening.getsockname())
    with other_process(path, who=Identity(uid, gid, groups, before=become)) as process:
        connection, _ = listening.accept()
        with connection:
            yield connection, process
