"""Who connected, asked of the kernel: real processes of real users in real control groups."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresherd.domain.access import OVERFLOW_ID, Peer
from refresherd.host.peers import Kernel, credentials, identified, process_of, unit_path
from support.other_users import AS_ROOT, Identity, other_process, reachable, unit_group


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
    """Start a process that connects, and yield the accepted socket and the process."""
    path = Path(listening.getsockname())
    with other_process(path, who=Identity(uid, gid, groups)) as process:
        connection, _ = listening.accept()
        with connection:
            yield connection, process


def seen(connection: socket.socket, kernel: Kernel | None = None) -> Peer:
    """Return all that the kernel reports about a peer."""
    kernel = kernel or Kernel()
    peer = credentials(connection)
    process = process_of(connection, peer, kernel)
    try:
        return identified(connection, peer, process, kernel)
    finally:
        if process is not None:
            os.close(process)


def test_a_peer_of_our_own_is_known(listening: socket.socket) -> None:
    """The least that is known, for any user who runs the tests."""
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
def test_a_process_that_has_ended_has_no_groups_of_another(
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


UNKNOWN_OPTION = 9999
"""A socket option that this kernel lacks, as older ones lack those for groups and pidfds."""


@pytest.mark.parametrize(
    "kernel", [Kernel(pidfd_option=UNKNOWN_OPTION), Kernel(groups_option=UNKNOWN_OPTION)]
)
def test_an_older_kernel_suffices(listening: socket.socket, unit: Path, kernel: Kernel) -> None:
    """Linux 5.3 has neither of the two socket options."""
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        peer = seen(connection, kernel)
        assert peer.unit == unit.name
        assert peer.groups == set(os.getgroups()) - {OVERFLOW_ID}


def test_without_pidfds_there_is_no_unit(
    listening: socket.socket, unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some Pythons are built without them, and an uncertain unit must not count."""
    monkeypatch.delattr(os, "pidfd_open")
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        assert seen(connection, Kernel(pidfd_option=UNKNOWN_OPTION)).unit == ""


def test_a_process_that_ends_while_it_is_looked_at_has_no_unit(
    listening: socket.socket, unit: Path, tmp_path: Path
) -> None:
    """From then on its pid may belong to another process, whose unit it would be."""
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        (tmp_path / str(process.pid)).mkdir()
        cgroup = tmp_path / str(process.pid) / "cgroup"
        os.mkfifo(cgroup)  # its reader waits until the process has ended

        def answer() -> None:
            with cgroup.open("w") as file:
                process.communicate()
                file.write(f"0::/{unit.name}\n")

        answering = threading.Thread(target=answer)
        answering.start()
        found = seen(connection, Kernel(proc=tmp_path))
        answering.join()
        assert found.unit == ""


def test_a_process_that_proc_hides_is_found_in_the_control_groups(
    listening: socket.socket, unit: Path, tmp_path: Path
) -> None:
    """With ProtectProc= in the daemon's own unit, /proc shows no processes of others."""
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        assert seen(connection, Kernel(proc=tmp_path)).unit == unit.name


def test_a_process_that_can_be_found_nowhere_has_no_unit(
    listening: socket.socket, unit: Path, tmp_path: Path
) -> None:
    """A host may hide both; then no unit's name gets anybody a token."""
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        assert seen(connection, Kernel(proc=tmp_path, cgroup_roots=(tmp_path,))).unit == ""


@AS_ROOT
def test_a_set_user_id_program_lends_its_groups_to_nobody(
    listening: socket.socket, tmp_path: Path
) -> None:
    """Whoever starts sudo on an open connection is for a moment a process in root's groups."""
    with caller(listening, "1234", "5678", "7") as (connection, process):
        assert seen(connection, Kernel(groups_option=UNKNOWN_OPTION)).groups == {7}
        status = Path(f"/proc/{process.pid}/status").read_text()
        (tmp_path / str(process.pid)).mkdir()
        changed = status.replace("1234\t1234\t1234\t1234", "1234\t0\t0\t0")
        (tmp_path / str(process.pid) / "status").write_text(changed)
        peer = seen(connection, Kernel(groups_option=UNKNOWN_OPTION, proc=tmp_path))
        assert peer.groups == set()


def tree(root: Path, groups: Iterable[str]) -> Path:
    """Make groups, each `path: pids`, under a root group without members."""
    for line in ("/:", *groups):
        path, _, members = line.partition(":")
        group = root / path.strip("/")
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text(members.strip().replace(" ", "\n"))
    return root


def test_the_unit_is_found_in_its_slice(tmp_path: Path) -> None:
    """Slices may lie in slices, and are never the unit themselves."""
    root = tree(tmp_path, ["/init.scope: 1", "/a.slice:", "/a.slice/a-b.slice/c.service: 12 345"])
    assert unit_path(345, (root,)) == "/a.slice/a-b.slice/c.service"
    assert unit_path(1, (root,)) == "/init.scope"


def test_a_group_below_a_units_group_is_the_units(tmp_path: Path) -> None:
    """Whoever is delegated a group may name those below it at will: they are not units."""
    root = tree(tmp_path, ["/system.slice/a.service:", "/system.slice/a.service/b.service/c: 7"])
    assert unit_path(7, (root,)) == "/system.slice/a.service"


def test_a_pid_does_not_match_part_of_another(tmp_path: Path) -> None:
    """If 12 matched 123, a token would go to the wrong unit."""
    root = tree(tmp_path, ["/system.slice/a.service: 123 4", "/system.slice/b.service: 12"])
    assert unit_path(12, (root,)) == "/system.slice/b.service"
    assert unit_path(3, (root,)) == ""


def test_a_group_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """Units end while they are looked at, and groups of threads list no processes."""
    root = tree(tmp_path, ["/system.slice/b.service: 12"])
    (root / "system.slice" / "a.service" / "cgroup.procs").mkdir(parents=True)
    assert unit_path(12, (root,)) == "/system.slice/b.service"


def test_the_tree_is_looked_for_where_systemd_mounts_it(tmp_path: Path) -> None:
    """With version 1 beside it, the place of version 2 alone holds mount points only."""
    (tmp_path / "alone").mkdir()
    beside = tree(tmp_path / "beside", ["/system.slice/a.service: 5"])
    assert unit_path(5, (tmp_path / "alone", beside)) == "/system.slice/a.service"
    assert unit_path(5, (tmp_path / "alone",)) == ""
