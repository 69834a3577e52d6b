"""Who connected, asked of the kernel: real processes of real users in real control groups."""

import errno
import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from refresherd.domain.access import Peer
from refresherd.host.peers import (
    KERNEL,
    Kernel,
    Unknown,
    credentials,
    groups_by_pid,
    groups_of,
    process_by_pid,
    process_of,
    tells_processes,
    unit_of,
)
from support.other_users import AS_ROOT, caller, open_to_all, unit_group

UNIT = "refresherd-test.service"
UNITS = frozenset({UNIT})
OURS = frozenset((*os.getgroups(), os.getgid()))


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Listen where everybody may connect."""
    with open_to_all() as listening:
        yield listening


def seen(connection: socket.socket, kernel: Kernel = KERNEL) -> Peer:
    """Return all that the kernel reports about a peer, as soon as it has connected."""
    peer = credentials(connection, kernel)
    told = tells_processes(kernel)
    process = process_of(connection, kernel) if told else process_by_pid(peer)
    try:
        groups = groups_of(connection, peer, kernel)
    except Unknown:
        groups = groups_by_pid(peer, process, kernel)
    return replace(peer, groups=groups, unit=unit_of(peer, process, UNITS, kernel))


def test_a_peer_of_our_own_is_known(listening: socket.socket) -> None:
    """The least that is known, for any user who runs the tests."""
    with caller(listening) as (connection, process):
        peer = seen(connection)
        assert (peer.uid, peer.gid, peer.pid) == (os.getuid(), os.getgid(), process.pid)
        assert peer.groups == OURS


@AS_ROOT
def test_user_and_groups_are_those_of_the_process(listening: socket.socket) -> None:
    """As they were when it connected."""
    with caller(listening, "1234", "5678", "7,70000") as (connection, process):
        groups = frozenset({7, 70000, 5678})
        assert seen(connection) == Peer(1234, 5678, process.pid, groups=groups, unit="")


@AS_ROOT
@pytest.mark.parametrize("count", [0, 255, 256, 257, 400, 4000, 65536])
def test_any_number_of_groups_is_told(listening: socket.socket, tmp_path: Path, count: int) -> None:
    """Directory services put people into hundreds, and /proc may hide the process."""
    groups = set(range(100_000, 100_000 + count))
    become = f"os.setgroups(range(100_000, {100_000 + count}))"
    with caller(listening, "1234", "5678", become=become) as (connection, _):
        peer = credentials(connection)
        assert groups_of(connection, peer, Kernel(proc=tmp_path)) == groups | {5678}


@AS_ROOT
def test_a_process_that_has_ended_keeps_the_groups_that_it_had(listening: socket.socket) -> None:
    """Its pid may be anybody's by now; what the kernel took note of when it connected stays."""
    with caller(listening, "1234", "5678", "7") as (connection, process):
        process.communicate()
        groups = frozenset({7, 5678})
        assert seen(connection) == Peer(1234, 5678, process.pid, groups=groups, unit="")


@AS_ROOT
def test_an_older_kernel_tells_no_groups_of_a_process_that_has_ended(
    listening: socket.socket,
) -> None:
    """Whatever /proc shows under its pid is another process's."""
    with caller(listening, "1234", "5678", "7") as (connection, process):
        process.communicate()
        assert seen(connection, Kernel(groups_option=UNKNOWN_OPTION)).groups == frozenset({5678})


@AS_ROOT
def test_groups_that_nobody_tells_are_unknown(listening: socket.socket, tmp_path: Path) -> None:
    """An older kernel with a hidden /proc: to say that there are none would be untrue."""
    with (
        caller(listening, "1234", "5678", "7") as (connection, _),
        pytest.raises(Unknown, match="let it see processes in /proc"),
    ):
        seen(connection, Kernel(groups_option=UNKNOWN_OPTION, proc=tmp_path))


@pytest.fixture
def unit() -> Iterator[Path]:
    """Make a control group as systemd does for a unit."""
    with unit_group(UNIT) as unit:
        yield unit


def test_the_unit_is_the_process_own(listening: socket.socket, unit: Path) -> None:
    """As systemd placed it, where no process without rights gets by itself."""
    with caller(listening) as (connection, process):
        before = seen(connection).unit
        (unit / "cgroup.procs").write_text(str(process.pid))
        assert (before, seen(connection).unit) == ("", unit.name)


UNKNOWN_OPTION = 9999
"""A socket option that this kernel lacks, as older ones lack those for groups and pidfds."""


class FailingSocket(socket.socket):
    """A socket whose peer's process the kernel does not tell, as some kernels do."""

    error = 0

    def getsockopt(self, *_: int) -> NoReturn:
        """Fail as the kernel would."""
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize(
    "kernel", [Kernel(pidfd_option=UNKNOWN_OPTION), Kernel(groups_option=UNKNOWN_OPTION)]
)
def test_an_older_kernel_suffices(listening: socket.socket, unit: Path, kernel: Kernel) -> None:
    """Linux 5.3 has neither of the two socket options."""
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        peer = seen(connection, kernel)
        assert peer.unit == unit.name
        assert peer.groups == OURS


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ESRCH, errno.EBADF])
def test_a_process_that_the_kernel_does_not_tell_has_no_unit(
    listening: socket.socket, unit: Path, error: int
) -> None:
    """Up to Linux 6.15 the option fails for a process that has ended.

    Whoever has its pid by now, here the process itself, must not be taken for it.
    """
    with caller(listening) as (connection, process):
        (unit / "cgroup.procs").write_text(str(process.pid))
        assert seen(connection).unit == unit.name
        peer, failing = credentials(connection), FailingSocket(fileno=os.dup(connection.fileno()))
        with failing:
            failing.error = error
            found = process_of(failing)
            assert unit_of(peer, found, UNITS) == ""


def test_without_descriptors_a_process_is_unknown(listening: socket.socket) -> None:
    """That passes, so it must not count as a process without a unit."""
    with (
        caller(listening) as (connection, _),
        FailingSocket(fileno=os.dup(connection.fileno())) as failing,
    ):
        failing.error = errno.EMFILE
        with pytest.raises(Unknown, match="too many open files"):
            process_of(failing)


@pytest.mark.parametrize("hidden", [False, True])
def test_without_descriptors_a_unit_is_unknown(
    listening: socket.socket, unit: Path, tmp_path: Path, *, hidden: bool
) -> None:
    """Neither /proc nor the control groups can be read then, which must not look like no unit."""
    kernel = Kernel(proc=tmp_path) if hidden else Kernel()
    with caller(listening) as (connection, child), ExitStack() as held:
        (unit / "cgroup.procs").write_text(str(child.pid))
        peer, process = credentials(connection), process_of(connection)
        limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (limit, hard))
        with suppress(OSError):
            while True:
                held.callback(os.close, os.open("/", os.O_PATH))
        with pytest.raises(Unknown, match="too many open files"):
            unit_of(peer, process, UNITS, kernel)
        held.close()
        assert unit_of(peer, process, UNITS, kernel) == unit.name


def test_no_descriptor_is_left_over(listening: socket.socket) -> None:
    """Each look-up opens one for the peer's process."""
    with caller(listening) as (connection, _):
        seen(connection)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            seen(connection)
            seen(connection, Kernel(pidfd_option=UNKNOWN_OPTION))
        assert len(list(Path("/proc/self/fd").iterdir())) == before


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
        assert seen(connection, Kernel(groups_option=UNKNOWN_OPTION)).groups == frozenset({7, 5678})
        status = Path(f"/proc/{process.pid}/status").read_text()
        (tmp_path / str(process.pid)).mkdir()
        changed = status.replace("1234\t1234\t1234\t1234", "1234\t0\t0\t0")
        (tmp_path / str(process.pid) / "status").write_text(changed)
        peer = seen(connection, Kernel(groups_option=UNKNOWN_OPTION, proc=tmp_path))
        assert peer.groups == frozenset({5678})
