"""Listening sockets in systemd's fd store: what is stored, and what a later run goes on with."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refresherd.adapters.systemd.fd_sockets import FdSockets, is_socket
from refresherd.domain.errors import RefresherdError
from refresherd.domain.model import Ownership
from refresherd.host.fd_store import MAX_SESSIONS, MAX_SOCKETS
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.service_manager import Descriptor, Notifier
from refresherd.host.unix_sockets import BoundSocket
from support.service_manager import ServiceManager, manager_at

PRIVATE = Ownership(mode=0o600)


class Host:
    """A host with a service manager, whose store each run of the daemon gets."""

    def __init__(self, directory: Path) -> None:
        self.manager: ServiceManager = manager_at(directory)
        self.notifier = Notifier(str(directory / "notify"))
        self.path = directory / "payments.sock"
        self.opened: list[BoundSocket] = []

    def run(self, from_units: dict[Path, socket.socket] | None = None) -> FdSockets:
        """Begin a run with what is stored; the one before it was killed."""
        for one in self.opened:
            one.socket.close()
        del self.opened[:]
        self.manager.take()
        stored = [
            Descriptor(os.dup(fd), name) for name, fds in self.manager.stored.items() for fd in fds
        ]
        assert all(is_socket(one.name) for one in stored)
        return FdSockets(self.notifier, from_units or {}, stored)

    def open(self, sockets: FdSockets, app: str = "a", ownership: Ownership = PRIVATE) -> int:
        """Open the app's socket in a run; return its file's inode."""
        self.opened.append(sockets.opener(app)(self.path, ownership))
        return self.path.stat().st_ino

    def stored(self) -> int:
        """Return how many descriptors the service manager holds."""
        self.manager.take()
        return sum(map(len, self.manager.stored.values()))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Return a host, and close what is open there after the test."""
    host = Host(tmp_path)
    yield host
    for one in host.opened:
        one.socket.close()
    host.notifier.close()
    host.manager.close()


def client(path: Path) -> socket.socket:
    """Return a client that has connected and waits."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(5)
    made.connect(str(path))
    return made


def test_a_killed_run_is_followed_by_one_with_the_same_socket(host: Host) -> None:
    """A client that connects meanwhile waits for its answer instead of failing."""
    inode = host.open(host.run())
    later = host.run()
    with client(host.path) as waiting:
        assert host.open(later) == inode
        assert host.opened[0].queued
        connection, _ = host.opened[0].socket.accept()
        connection.send(b"token")
        connection.close()
        assert waiting.recv(100) == b"token"
    assert host.stored() == 1


def renamed_app(host: Host, sockets: FdSockets) -> int:
    """Give the path to another app."""
    return host.open(sockets, app="b")


def other_rights(host: Host, sockets: FdSockets) -> int:
    """Let others connect from now on."""
    return host.open(sockets, ownership=Ownership(mode=0o660))


def chmodded(host: Host, sockets: FdSockets) -> int:
    """Let everybody connect while no daemon runs."""
    host.path.chmod(0o666)
    return host.open(sockets)


def replaced(host: Host, sockets: FdSockets) -> int:
    """Put a dead socket in the path's place while no daemon runs."""
    host.path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(host.path))
    return host.open(sockets)


@pytest.mark.parametrize("change", [renamed_app, other_rights, chmodded, replaced])
def test_clients_that_queued_under_other_rights_get_nothing(
    host: Host, change: Callable[[Host, FdSockets], int]
) -> None:
    """They connected when the socket was another app's, or when others could connect."""
    inode = host.open(host.run())
    later = host.run()
    with client(host.path) as waiting:
        assert change(host, later) != inode
        # As soon as systemd has closed its copy as well.
        host.stored()
        assert host.stored() == 1
        with pytest.raises(ConnectionResetError):
            waiting.recv(100)
    client(host.path).close()


def test_a_file_in_the_place_of_a_stored_socket_is_left_alone(host: Host) -> None:
    """Somebody put it there while no daemon ran; the stored socket is out of reach, and closed."""
    host.open(host.run())
    host.path.unlink()
    host.path.write_text("precious")
    later = host.run()
    with pytest.raises(RefresherdError, match="a file is there; move it away"):
        host.open(later)
    assert host.path.read_text() == "precious"
    assert host.stored() == 0


async def test_sockets_that_are_not_configured_any_more_are_removed(host: Host) -> None:
    """Their clients would wait for ever, and their files are of no use."""
    host.open(host.run())
    later = host.run()
    await later.drop_unconfigured([], KeyedExecutor(idle_timeout=0.1))
    assert not host.path.exists()
    assert host.stored() == 0


def test_a_socket_that_is_closed_for_good_is_removed(host: Host) -> None:
    """A reload may drop it."""
    host.open(host.run())
    assert host.stored() == 1
    host.opened[0].close()
    assert host.stored() == 0
    assert not host.path.exists()


def test_a_socket_that_is_left_stays_for_the_next_run(host: Host) -> None:
    """The daemon cannot tell a stop from a restart."""
    inode = host.open(host.run())
    host.opened[0].leave()
    assert host.open(host.run()) == inode


def test_a_lent_socket_goes_before_a_kept_one(host: Host) -> None:
    """Somebody has added a socket unit for the path: its file is not the daemon's."""
    host.open(host.run())
    host.path.unlink()
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(host.path))
        passed.listen()
        inode = host.path.stat().st_ino
        assert host.open(host.run({host.path: passed})) == inode
        assert host.opened[0].from_unit
        assert host.stored() == 0


def test_no_more_sockets_are_stored_than_their_names_have_room(host: Host) -> None:
    """With more, the next run could not even be started; these sockets work all the same."""
    sockets = FdSockets(host.notifier, {}, max_entries=0)
    host.open(sockets)
    assert host.stored() == 0
    host.opened[0].leave()
    assert not host.path.exists()
    names = "LISTEN_FDNAMES=" + ":".join(["s.123"] * MAX_SESSIONS + ["k.1234567890"] * MAX_SOCKETS)
    assert len(names) + 1 < 128 * 1024


def test_without_a_service_manager_nothing_is_socket(tmp_path: Path) -> None:
    """A daemon that was started by hand removes its sockets when it ends."""
    notifier = Notifier("")
    opened = FdSockets(notifier, {}).opener("a")(tmp_path / "payments.sock", PRIVATE)
    opened.leave()
    assert not opened.path.exists()
    notifier.close()
