"""Sessions in the fd store: one is always whole, and only an app's own comes back."""

import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from refresherd.adapters.state import fd_names, memfd
from refresherd.adapters.state.fd_names import is_session
from refresherd.adapters.state.fd_store import FdStore, StoredSessions
from refresherd.adapters.state.fd_store_record import LONGEST, parsed
from refresherd.domain.errors import OutputError
from refresherd.domain.model import ApiKeyFile, App, Endpoint, Instant, Secret, Token
from refresherd.host.clock import boot_id
from refresherd.host.sd_notify import Notifier
from refresherd.host.service_manager import Descriptor
from support.fakes import ENTITY_ID
from support.service_manager import ServiceManager, manager_at

APP = App("payments", Endpoint("https://dsm.example.com"), ApiKeyFile(Path("payments.key")))
OTHER = replace(APP, name="orders")
MOVED = replace(APP, endpoint=Endpoint("https://other"))
REKEYED = replace(APP, credential=ApiKeyFile(Path("other.key")))


def token(generation: int, text: str = "") -> Token:
    """Return a token of a generation."""
    began = Instant(1000.0 + 300 * generation)
    secret = Secret(text or f"token-{generation}")
    return Token(secret, ENTITY_ID, generation, began, 600.0, Instant(began + 600))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """Yield a service manager that listens and keeps descriptors."""
    manager = manager_at(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def notifier(manager: ServiceManager) -> Iterator[Notifier]:
    """Yield the way to it."""
    notifier = Notifier(manager.address)
    yield notifier
    notifier.close()


def stored(manager: ServiceManager) -> list[int]:
    """Return the generations that the manager holds whole."""
    manager.read()
    fds = [fd for fds in manager.stored.values() for fd in fds]
    return sorted(parsed(os.pread(fd, LONGEST, 0)).token.generation for fd in fds)


def passed_on(manager: ServiceManager) -> list[Descriptor]:
    """Return what the manager passes to the next process: descriptors of the same files."""
    manager.read()
    return [Descriptor(os.dup(fd), name) for name, fds in manager.stored.items() for fd in fds]


def next_run(
    manager: ServiceManager, notifier: Notifier, *apps: App, boot: str = "boot"
) -> tuple[FdStore, list[str]]:
    """Start anew with what the manager holds; return the lines about what was dropped."""
    store = FdStore(notifier, boot)
    return store, store.adopt(passed_on(manager), {app.name: app for app in apps})


async def test_at_any_instant_a_whole_session_is_stored(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """A kill may come between any two datagrams: the newest must be there, or the one before."""
    sessions = StoredSessions(FdStore(notifier, "boot"), APP)
    sessions.begin("key")
    for generation in range(1, 6):
        before = len(manager.heard)
        await sessions.put(token(generation))
        held: set[int] = {generation - 1} - {0}
        manager.read()
        for message in manager.heard[before:]:
            held |= {generation} if message.value("FDSTORE") else set()
            assert held
        assert max(stored(manager)) == generation
    assert stored(manager) == [4, 5]
    added = [message for message in manager.heard if message.value("FDSTORE")]
    assert {message.value("FDPOLL") for message in added} == {"0"}
    assert all(is_session(message.value("FDNAME") or "") for message in added)


async def test_what_is_stored_can_be_changed_by_nobody(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """Whoever is passed the descriptor by mistake must not be able to plant a session."""
    await StoredSessions(FdStore(notifier, "boot"), APP).put(token(1))
    manager.read()
    ((fd,),) = manager.stored.values()
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == memfd.SEALS
    with pytest.raises(PermissionError):
        os.write(fd, b"x")


async def test_the_next_run_finds_the_newest_first(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """It goes on from that one, and sees to the end of the one that it replaced."""
    sessions = StoredSessions(FdStore(notifier, "boot"), APP)
    sessions.begin("key")
    for generation in (9, 10):
        await sessions.put(token(generation))
    store, lines = next_run(manager, notifier, APP)
    assert lines == []
    later = StoredSessions(store, APP)
    found = later.inherited()
    assert [(one.token, one.credential) for one in found] == [
        (token(10), "key"),
        (token(9), "key"),
    ]
    later.begin("key")
    assert later.inherited() == ()
    messages = len(manager.heard)
    await later.put(token(10))
    manager.read()
    assert len(manager.heard) == messages, "it is there already"
    await later.put(token(11))
    assert stored(manager) == [10, 11]


@pytest.mark.parametrize(
    ("app", "boot", "why"),
    [
        (MOVED, "boot", "it is one at another endpoint"),
        (
            replace(APP, credential=ApiKeyFile(Path("b"))),
            "boot",
            "it was got by another credential",
        ),
        (OTHER, "boot", "no such app keeps its session here"),
        (APP, "another", "it is of an earlier boot"),
    ],
)
async def test_a_foreign_session_is_dropped_and_removed(
    manager: ServiceManager, notifier: Notifier, app: App, boot: str, why: str
) -> None:
    """Going on from it could give a token to the wrong server, or stand for another app."""
    await StoredSessions(FdStore(notifier, "boot"), APP).put(token(1))
    store, (line,) = next_run(manager, notifier, app, boot=boot)
    assert line == f"a stored session is dropped (payments): {why}"
    assert store.inherited(APP) == ()
    assert stored(manager) == []


@pytest.mark.parametrize("changed", [MOVED, REKEYED])
async def test_a_reload_before_the_session_is_taken_up_is_heeded(
    manager: ServiceManager, notifier: Notifier, changed: App
) -> None:
    """The key may be long in coming, and the app be another's by then: at another server, even."""
    await StoredSessions(FdStore(notifier, "boot"), APP).put(token(1))
    store, _ = next_run(manager, notifier, APP)
    assert StoredSessions(store, changed).inherited() == ()
    assert len(StoredSessions(store, APP).inherited()) == 1


async def test_where_no_boot_can_be_told_the_others_checks_suffice(
    manager: ServiceManager, notifier: Notifier, tmp_path: Path
) -> None:
    """A unit with ProcSubset=pid has no boot id; the store does not outlive a boot anyway."""
    await StoredSessions(FdStore(notifier, boot_id(tmp_path / "none")), APP).put(token(1))
    store, lines = next_run(manager, notifier, APP, boot=boot_id())
    assert (len(store.inherited(APP)), lines) == (1, [])


def test_what_is_garbled_is_dropped_and_removed(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """It must neither keep the daemon from starting nor stay for ever."""
    reading, writing = os.pipe()
    os.close(writing)
    with memfd.sealed(b"\x00garbled") as fd:
        store = FdStore(notifier, "boot")
        garbled = Descriptor(os.dup(fd), "s.abc")
        lines = store.adopt([garbled, Descriptor(reading, "s.x00")], {"payments": APP})
    assert lines == [
        "a stored session is dropped (s.abc): it is no JSON",
        f"a stored session is dropped (s.x00): {os.strerror(errno.ESPIPE)}",
    ]
    manager.read()
    removed = [message.value("FDNAME") for message in manager.heard]
    assert removed == ["s.abc", "s.x00"]


async def test_a_session_that_is_dead_is_stored_no_more(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """A restart would go on from what DSM has ended."""
    store = FdStore(notifier, "boot")
    mine, others = StoredSessions(store, APP), StoredSessions(store, OTHER)
    assert mine.removes_expired
    await mine.prepare()
    await mine.put(token(1))
    await mine.put(token(2))
    await others.put(token(3))
    await mine.remove()
    mine.close()
    assert stored(manager) == [3]


async def test_a_full_store_still_gets_the_newest(
    manager: ServiceManager, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten thousand apps it is full: what is stored of each must not grow stale for that."""
    monkeypatch.setattr(fd_names, "MOST", 2)
    store = FdStore(notifier, "boot")
    sessions = StoredSessions(store, APP)
    for generation in (1, 2, 3):
        await sessions.put(token(generation))
    assert stored(manager) == [2, 3]
    with pytest.raises(OutputError, match="can pass on no more"):
        await StoredSessions(store, OTHER).put(token(4))


async def test_a_manager_that_takes_nothing_is_asked_again(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """A flood must neither lose a session for good nor leave two generations behind."""
    sessions = StoredSessions(FdStore(notifier, "boot"), APP)
    for generation in (1, 2):
        await sessions.put(token(generation))
    manager.read()
    manager.flood()
    with pytest.raises(OutputError, match="the service manager does not take the session now"):
        await sessions.put(token(3))
    manager.read()
    assert stored(manager) == [1, 2]
    await sessions.put(token(3))
    assert stored(manager) == [2, 3]
    manager.flood()
    await sessions.remove()
    assert stored(manager) == [2, 3]
    await sessions.put(token(4))
    assert stored(manager) == [4]


async def test_a_host_without_room_for_it_says_so(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an output like any other: told, and tried again."""

    def full(*_: object) -> int:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(os, "memfd_create", full)
    sessions = StoredSessions(FdStore(notifier, "boot"), APP)
    with pytest.raises(OutputError, match="cannot store the session: Too many open files"):
        await sessions.put(token(1))
