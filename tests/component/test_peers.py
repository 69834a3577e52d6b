"""Who connected: asked of the kernel, with real processes of real users in real control groups."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresherd.domain.access import OVERFLOW_ID, Peer
from refresherd.host import cgroups, peers
from refresherd.host.peers import credentials, identified, process_of
from support.other_users import AS_ROOT, As, reachable, stranger, unit_group


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Listen where everybody may connect."""
    with reachable() as directory, socket.socket(socket.AF_UNIX) as listening:
        path = directory / "s"
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o666)
        yield listening


@contextmanager
def caller(
    listening: socket.socket, uid: str = "", gid: str = "", groups: str = ""
) -> Iterator[tuple[socket.socket, "subprocess.Popen[str]"]]:
    """Have a process connect, and yield the accepted socket and the process."""
    path = Path(listening.getsockname())
    with stranger(path, who=As(uid, gid, groups)) as process:
        connection, _ = listening.accept()
        with connection:
            yield connection, process


def seen(connection: socket.socket) -> Peer:
    """Return all that can be known of a peer."""
    peer = credentials(connection)
    process = process_of(connection, peer)
    try:
        return identified(connection, peer, process)
    finally:
        if process is not None:
            os.close(process)


def test_a_peer_of_our_own_is_known(listening: socket.socket) -> None:
    """The least there is to know, for any user who runs the tests."""
    with caller(listening) as (connection, process):
        peer = seen(connection)
        assert (peer.uid, peer.gid, peer.pid) == (os.getuid(), os.getgid(), process.pid)
        assert peer.groups == set(os.getgroups()) - {OVERFLOW_ID}


@AS_ROOT
def test_user_and_groups_are_those_of_the_process(listening: socket.socket) -> None:
    """As it was when it connected; the overflow group is anybody's."""
    with caller(listening, "1234", "5678", f"7,70000,{OVERFLOW_ID}") as (connection, process):
        assert seen(connection) == Peer(1234, 5678, process.pid, frozenset({7, 70000}))


@AS_ROOT
def test_more_groups_than_the_kernel_tells_at_once(listening: socket.socket) -> None:
    """Directory services put people into hundreds."""
    groups = range(2000, 2400)
    with caller(listening, "1234", "5678", ",".join(map(str, groups))) as (connection, _):
        assert seen(connection).groups == set(groups)


@AS_ROOT
def test_a_process_that_has_ended_has_no_groups_that_would_be_anothers(
    listening: socket.socket,
) -> None:
    """Its pid may be anybody's by now; what the kernel took note of when it connected stays."""
    with caller(listening, "1234", "5678", "7") as (connection, process):
        process.communicate()
        assert seen(connection) == Peer(1234, 5678, process.pid, frozenset({7}))
    many = ",".join(map(str, range(2000, 2400)))
    with caller(listening, "1234", "5678", many) as (connection, process):
        process.communicate()
        assert seen(connection).groups == set()


@pytest.fixture
def unit() -> Iterator[Path]:
    """Make a control group as systemd does for a unit."""
    with unit_group("refresherd-test.service") as unit:
        yield unit


def test_the_unit_is_the_process_own(listening: socket.socket, unit: Path) -> None:
    """As systemd placed it, where no process without rights gets by itself."""
    with caller(listening) as (connection, process):
        before = seen(connection).unit
        (unit / "cgroup.procs").write_text(str(process.pid))
        assert (before, seen(connection).unit) == ("", unit.name)


@pytest.mark.parametrize("option", ["SO_PEERPIDFD", "SO_PEERGROUPS"])
def test_an_older_kernel_will_do(
    listening: socket.socket, unit: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Linux 5.3 suffices."""
    monkeypatch.setattr(peers, option, 9999)
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        peer = seen(connection)
        assert peer.unit == unit.name
        assert peer.groups == set(os.getgroups()) - {OVERFLOW_ID}


def test_without_pidfds_there_is_no_unit(
    listening: socket.socket, unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be certain is not believed: Pythons are built without them."""
    monkeypatch.setattr(peers, "SO_PEERPIDFD", 9999)
    monkeypatch.delattr(os, "pidfd_open")
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        assert seen(connection).unit == ""


def test_a_process_that_ends_while_it_is_looked_at_has_no_unit(
    listening: socket.socket, unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From then on its pid may be another process', whose unit it would be."""
    read_text = Path.read_text
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))

        def end_first(path: Path, **options: str) -> str:
            text = read_text(path, **options)
            process.communicate()
            return text

        monkeypatch.setattr(Path, "read_text", end_first)
        assert seen(connection).unit == ""


def test_a_process_that_proc_hides_is_found_in_the_control_groups(
    listening: socket.socket, unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ProtectProc= in the daemon's own unit, /proc has no processes of others."""

    def deny(path: Path, **_: str) -> str:
        raise FileNotFoundError(path)

    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        monkeypatch.setattr(Path, "read_text", deny)
        assert seen(connection).unit == unit.name


def test_a_process_that_can_be_found_nowhere_has_no_unit(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host may hide both; then nobody gets a token for the sake of a unit."""

    def deny(path: Path, **_: str) -> str:
        raise PermissionError(path)

    with caller(listening) as (connection, _):
        monkeypatch.setattr(Path, "read_text", deny)
        monkeypatch.setattr(cgroups, "unit_path", lambda _: "")
        assert seen(connection).unit == ""


@AS_ROOT
def test_a_program_with_others_rights_lends_its_groups_to_nobody(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts sudo on an open connection is for a moment a process in root's groups."""
    monkeypatch.setattr(peers, "SO_PEERGROUPS", 9999)
    with caller(listening, "1234", "5678", "7") as (connection, process):
        assert seen(connection).groups == {7}
        message = Path(f"/proc/{process.pid}/status").read_text()
        changed = message.replace("1234\t1234\t1234\t1234", "1234\t0\t0\t0")
        monkeypatch.setattr(Path, "read_text", lambda _, **__: changed)
        assert seen(connection).groups == set()
