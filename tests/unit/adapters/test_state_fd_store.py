"""The fd store: names that all reach the next run, and content that nobody can change."""

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.state.fd_sessions import MAX_ENTRIES, SEALS, FdSessions, is_session
from refresherd.domain.errors import OutputError
from refresherd.domain.model import ApiKeyFile, App, Endpoint, Instant, Secret, Token
from refresherd.host.service_manager import Descriptor, Notifier
from support.fakes import ENTITY_ID
from support.service_manager import ServiceManager, manager_at

LONGEST_VARIABLE = 128 * 1024
"""MAX_ARG_STRLEN of execve(2): a variable's name and value, and a terminating zero."""

SOCKETS = "api:" * 1000
"""Room for the names of sockets."""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """Yield a service manager that listens and keeps descriptors."""
    manager = manager_at(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def notifier(manager: ServiceManager) -> Iterator[Notifier]:
    """Yield a connection to it."""
    notifier = Notifier(manager.address)
    yield notifier
    notifier.close()


class SilentNotifier(Notifier):
    """A connection on which everything is sent and nobody listens."""

    def __init__(self) -> None:
        super().__init__("")
        self.close()


def test_all_names_fit_in_the_environment_of_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """With longer names a daemon of two thousand apps could not be started again."""
    monkeypatch.setattr(os, "memfd_create", lambda *_: os.open(os.devnull, os.O_RDWR))
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: 0)
    sessions = FdSessions(SilentNotifier(), "boot")
    names = [sessions.add(b"") for _ in range(MAX_ENTRIES)]
    assert len(set(names)) == MAX_ENTRIES
    assert all(map(is_session, names))
    assert len(f"LISTEN_FDNAMES={SOCKETS}{':'.join(names)}") < LONGEST_VARIABLE
    assert sessions.full
    with pytest.raises(OutputError, match="holds 20000 sessions, and cannot pass on more"):
        sessions.add(b"")
    sessions.remove([names[7]])
    assert sessions.add(b"") not in names[:7] + names[8:]


@given(st.lists(st.integers(0, 40)))
def test_no_two_entries_have_the_same_name(removals: list[int]) -> None:
    """Removing the one would remove the other."""
    sessions = FdSessions(SilentNotifier(), "boot")
    used = [sessions.add(b"") for _ in range(20)]
    for number in removals:
        if number < len(used):
            sessions.remove([used.pop(number)])
        used.append(sessions.add(b""))
        assert len(set(used)) == len(used)


@pytest.mark.parametrize(
    "name", ["", "api", "s.", "s.a", "s.abcd", "s.a-b", "refresherd-api.socket"]
)
def test_a_socket_is_not_taken_for_a_session(name: str) -> None:
    """It would be closed, and its clients would be turned away."""
    assert not is_session(name)


def test_nobody_can_change_what_is_stored(manager: ServiceManager, notifier: Notifier) -> None:
    """A process that gets the descriptor by mistake must not be able to plant a session."""
    FdSessions(notifier, "boot").add(b"content")
    manager.read()
    ((fd,),) = manager.stored.values()
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == SEALS
    with pytest.raises(PermissionError):
        os.write(fd, b"x")


async def test_an_adopted_entry_is_read_and_its_descriptor_closed(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """Its name stays in use until the entry is removed."""
    app = App("payments", Endpoint("https://dsm.example.com"), ApiKeyFile(Path("payments.key")))
    token = Token(Secret("token"), ENTITY_ID, 1, Instant(1000.0), 600.0, Instant(1600.0))
    await FdSessions(notifier, "boot").store(app).put(token)
    manager.read()
    ((name, (fd,)),) = manager.stored.items()
    passed = os.dup(fd)
    sessions = FdSessions(notifier, "boot")
    assert sessions.adopt([Descriptor(passed, name)], {app.name: app}) == []
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(passed)
    assert sessions.add(b"") != name


def test_an_entry_is_removed_once_systemd_takes_messages(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """Its name is not used again before."""
    sessions = FdSessions(notifier, "boot", max_entries=1)
    name = sessions.add(b"")
    manager.read()
    manager.flood()
    sessions.remove([name])
    assert sessions.full
    manager.read()
    sessions.remove([])
    manager.read()
    assert (sessions.full, manager.stored) == (False, {})


def test_a_host_without_memory_for_it_is_reported(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller tries again, as with any output."""

    def full(*_: object) -> int:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(os, "memfd_create", full)
    with pytest.raises(OutputError, match="cannot store the session: Too many open files"):
        FdSessions(notifier, "boot").add(b"")
