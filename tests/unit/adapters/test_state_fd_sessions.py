"""Sessions in the fd store: a whole one at any instant, and each app gets back only its own."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.state.fd_sessions import (
    SEALS,
    FdRecord,
    FdSessions,
    FdSessionStore,
    is_session,
    source_fingerprint,
)
from refresherd.adapters.state.session_file import MAX_SESSION_BYTES, decode, encode
from refresherd.domain.errors import OutputError
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Credential,
    Endpoint,
    Instant,
    Secret,
    SystemdCredential,
    Token,
)
from refresherd.engine.ports import StoredSession
from refresherd.host.clock import boot_id
from refresherd.host.fd_store import MAX_SESSIONS
from refresherd.host.service_manager import Descriptor, Notifier
from support.fakes import API_KEY, ENTITY_ID
from support.service_manager import ServiceManager, manager_at

APP = App("payments", Endpoint("https://dsm.example.com"), ApiKeyFile(Path("payments.key")))
OTHER = replace(APP, name="orders")
MOVED = replace(APP, endpoint=Endpoint("https://other"))
REKEYED = replace(APP, credential=ApiKeyFile(Path("other.key")))

RECORD = FdRecord(
    app="payments",
    endpoint="https://amer.smartkey.io",
    source_sha256=source_fingerprint(APP),
    credential_sha256=Secret(API_KEY).fingerprint(),
    boot_id="boot",
    access_token=Secret("tUk3wMZ-0_x"),
    entity_id=ENTITY_ID,
    generation=7,
    issued_at=Instant(1000.25),
    lifetime=600.0,
    expires_at=Instant(1600.25),
)
FIELDS = json.loads(encode(RECORD))

EARLIER_VERSION = (
    b'{"app": "payments", "endpoint": "https://amer.smartkey.io", "source_sha256": "00", '
    b'"credential_sha256": "11", "boot_id": "boot", "access_token": "tUk3wMZ-0_x", '
    b'"entity_id": "8f2b", "generation": 7, "issued_at": 1000.25, "lifetime": 600, '
    b'"expires_at": 1600.25}'
)
"""What the first versions stored."""

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


LONGEST_VARIABLE = 128 * 1024
"""MAX_ARG_STRLEN of execve(2): a variable's name and value, and a terminating zero."""

SOCKETS = "api:" * 1000
"""Room for the names of sockets."""


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
    """Yield a connection to it."""
    notifier = Notifier(manager.address)
    yield notifier
    notifier.close()


def first_run(notifier: Notifier, app: App = APP) -> FdSessionStore:
    """Return an app's store in a run that found nothing."""
    return FdSessions(notifier, "boot").store(app)


def next_run(
    manager: ServiceManager, notifier: Notifier, *apps: App, boot: str = "boot"
) -> tuple[FdSessions, list[str]]:
    """Start another run with what the manager holds; return its warnings as well."""
    manager.read()
    passed = [Descriptor(os.dup(fd), name) for name, fds in manager.stored.items() for fd in fds]
    sessions = FdSessions(notifier, boot)
    return sessions, sessions.adopt(passed, {app.name: app for app in apps})


def stored(manager: ServiceManager) -> list[int]:
    """Return the generations that the manager holds whole."""
    manager.read()
    fds = [fd for fds in manager.stored.values() for fd in fds]
    return sorted(decode(os.pread(fd, MAX_SESSION_BYTES, 0), FdRecord).generation for fd in fds)


async def test_a_whole_session_is_stored_at_any_instant(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """A kill between any two messages leaves the newest session, or the one before it."""
    store = first_run(notifier)
    store.begin("key")
    for generation in range(1, 6):
        before = len(manager.heard)
        await store.put(token(generation))
        held: set[int] = {generation - 1} - {0}
        manager.read()
        for message in manager.heard[before:]:
            held |= {generation} if message.value("FDSTORE") else set()
            assert held
        assert max(stored(manager)) == store.saved == generation
    assert stored(manager) == [4, 5]
    added = [message for message in manager.heard if message.value("FDSTORE")]
    assert {message.value("FDPOLL") for message in added} == {"0"}
    assert all(is_session(message.value("FDNAME") or "") for message in added)


async def test_the_next_run_finds_the_newest_first(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """It resumes that session, and ends the one that it had replaced."""
    store = first_run(notifier)
    store.begin("key")
    for generation in (9, 10):
        await store.put(token(generation))
    sessions, warnings = next_run(manager, notifier, APP)
    assert warnings == []
    later = sessions.store(APP)
    assert (later.saved, later.credential) == (10, "")
    assert await later.load() == tuple(
        StoredSession(token(number).access_token, "key", token(number)) for number in (10, 9)
    )
    later.begin("key")
    assert (await later.load(), later.credential) == ((), "key")
    messages = len(manager.heard)
    await later.put(token(10))
    manager.read()
    assert len(manager.heard) == messages, "it is stored already"
    await later.put(token(11))
    assert stored(manager) == [10, 11]


@pytest.mark.parametrize(
    ("app", "boot", "why"),
    [
        (MOVED, "boot", "it belongs to another endpoint"),
        (REKEYED, "boot", "it was obtained with another credential or bind_to"),
        (OTHER, "boot", "no such app keeps its session here"),
        (APP, "another", "it is from an earlier boot"),
    ],
)
async def test_a_foreign_session_is_dropped_and_removed(
    manager: ServiceManager, notifier: Notifier, app: App, boot: str, why: str
) -> None:
    """Resuming it could send a token to the wrong server, or serve another app's.

    Its generation counts all the same: consumers must not see a lower one.
    """
    await first_run(notifier).put(token(7))
    sessions, (line,) = next_run(manager, notifier, app, boot=boot)
    assert line == f"a stored session is dropped (payments): {why}"
    assert sessions.generations == {"payments": 7}
    assert await sessions.store(APP).load() == ()
    assert stored(manager) == []


@pytest.mark.parametrize("changed", [MOVED, REKEYED])
async def test_a_reload_before_the_session_is_resumed_is_respected(
    manager: ServiceManager, notifier: Notifier, changed: App
) -> None:
    """The key may take long to appear, and meanwhile the app may move to another server."""
    await first_run(notifier).put(token(1))
    sessions, _ = next_run(manager, notifier, APP)
    assert await sessions.store(changed).load() == ()
    assert len(await sessions.store(APP).load()) == 1


async def test_without_a_boot_id_the_other_checks_suffice(
    manager: ServiceManager, notifier: Notifier, tmp_path: Path
) -> None:
    """A unit with ProcSubset=pid has no boot id; the store does not outlive a boot anyway."""
    await FdSessions(notifier, boot_id(tmp_path / "none")).store(APP).put(token(1))
    sessions, warnings = next_run(manager, notifier, APP, boot=boot_id())
    assert (len(await sessions.store(APP).load()), warnings) == (1, [])


def test_garbage_is_dropped_and_removed(manager: ServiceManager, notifier: Notifier) -> None:
    """It must neither keep the daemon from starting nor stay in the store for ever."""
    reading, writing = os.pipe()
    os.close(writing)
    garbled = os.memfd_create("garbled")
    os.write(garbled, b"\x00garbled")
    passed = [Descriptor(garbled, "s.abc"), Descriptor(reading, "s.x00")]
    warnings = FdSessions(notifier, "boot").adopt(passed, {"payments": APP})
    assert warnings == [
        "a stored session is dropped (s.abc): it is not valid JSON",
        f"a stored session is dropped (s.x00): {os.strerror(errno.ESPIPE)}",
    ]
    manager.read()
    removed = [message.value("FDNAME") for message in manager.heard]
    assert removed == ["s.abc", "s.x00"]


async def test_a_dead_session_is_removed(manager: ServiceManager, notifier: Notifier) -> None:
    """Otherwise a restart would resume a session that DSM has ended."""
    sessions = FdSessions(notifier, "boot")
    mine, others = sessions.store(APP), sessions.store(OTHER)
    assert mine.removes_expired
    await mine.prepare()
    await mine.put(token(1))
    await mine.put(token(2))
    await others.put(token(3))
    await mine.remove()
    mine.close()
    assert (stored(manager), mine.saved) == ([3], 0)


async def test_a_full_store_still_gets_the_newest(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """With ten thousand apps the store is full, and must not grow stale for that."""
    sessions = FdSessions(notifier, "boot", max_entries=2)
    store = sessions.store(APP)
    for generation in (1, 2, 3):
        await store.put(token(generation))
    assert stored(manager) == [2, 3]
    with pytest.raises(OutputError, match="cannot pass on more"):
        await sessions.store(OTHER).put(token(4))


async def test_a_manager_that_takes_nothing_is_asked_again(
    manager: ServiceManager, notifier: Notifier
) -> None:
    """A flood must neither lose a session for good nor leave two generations behind."""
    store = first_run(notifier)
    for generation in (1, 2):
        await store.put(token(generation))
    manager.read()
    manager.flood()
    with pytest.raises(OutputError, match="the service manager does not take the session now"):
        await store.put(token(3))
    manager.read()
    assert (stored(manager), store.saved) == ([1, 2], 2)
    await store.put(token(3))
    assert stored(manager) == [2, 3]
    manager.flood()
    await store.remove()
    assert stored(manager) == [2, 3]
    await store.put(token(4))
    assert stored(manager) == [4]


@given(
    st.from_regex(r"[A-Za-z0-9._~+/-]{1,99}=*", fullmatch=True),
    st.integers(1, 10**9),
    st.floats(0, 1e9),
    st.floats(0.001, 4_294_967_295),
)
def test_a_record_is_read_as_it_was_written(
    text: str, generation: int, at: float, lifetime: float
) -> None:
    """To the last digit: an instant that moved would shift a refresh with each restart."""
    record = FdRecord(
        **FIELDS
        | {
            "access_token": Secret(text),
            "generation": generation,
            "issued_at": at,
            "lifetime": lifetime,
            "expires_at": at + lifetime,
        }
    )
    assert decode(encode(record), FdRecord) == record


def test_a_record_of_an_earlier_version_is_read() -> None:
    """An upgrade restarts the daemon, and must not cost a login."""
    record = decode(EARLIER_VERSION, FdRecord)
    assert record.stored_session() == StoredSession(
        Secret("tUk3wMZ-0_x"),
        "11",
        Token(Secret("tUk3wMZ-0_x"), "8f2b", 7, Instant(1000.25), 600.0, Instant(1600.25)),
    )


def test_a_record_holds_no_key_and_does_not_print_its_token() -> None:
    """Whoever can read the store has the session, but must not get the credential."""
    text = encode(RECORD).decode()
    assert API_KEY not in text
    assert text.count("tUk3wMZ-0_x") == 1
    assert "tUk3wMZ-0_x" not in repr(RECORD)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Whatever was put there, a traceback would keep the daemon from starting, time and again."""
    with suppress(ValueError):
        decode(raw, FdRecord)


@given(st.sampled_from(sorted(FIELDS)), JSON)
def test_each_field_has_its_type_or_the_record_is_refused(name: str, value: Any) -> None:  # noqa: ANN401  # JSON
    """Later code relies on it."""
    with suppress(ValueError):
        record = decode(json.dumps({**FIELDS, name: value}).encode(), FdRecord)
        assert decode(encode(record), FdRecord) == record
        assert record.generation >= 1
        assert record.lifetime > 0
        assert record.expires_at == record.expires_at, "not a number"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is not valid JSON"),
        (b"[" * 50_000, "Expected `object`, got `array`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `endpoint`"),
        (b"x" * (MAX_SESSION_BYTES + 1), f"it has over {MAX_SESSION_BYTES} bytes"),
        (json.dumps(FIELDS | {"access_token": "a\nb"}).encode(), "Expected a bearer token"),
        (json.dumps(FIELDS | {"generation": 0}).encode(), r"`int` >= 1 - at `\$.generation`"),
        (json.dumps(FIELDS | {"generation": 1.5}).encode(), r"got `float` - at `\$.generation`"),
        (json.dumps(FIELDS | {"generation": True}).encode(), r"got `bool` - at `\$.generation`"),
        (json.dumps(FIELDS | {"lifetime": 0}).encode(), r"`float` > 0.0 - at `\$.lifetime`"),
        (json.dumps(FIELDS | {"expires_at": 10**400}).encode(), r"out of range - at `\$.expires"),
        (json.dumps(FIELDS | {"expires_at": float("nan")}).encode(), "it is not valid JSON"),
    ],
)
def test_what_is_not_a_record_is_refused_without_being_quoted(raw: bytes, why: str) -> None:
    """The reason goes to the log, and half a record may hold a whole token."""
    with pytest.raises(ValueError, match=why) as refused:
        decode(raw, FdRecord)
    assert "tUk3" not in str(refused.value)


def test_sources_have_different_fingerprints() -> None:
    """Another path may hold another app's key."""
    sources: list[Credential] = [
        ApiKeyFile(Path("a")),
        ApiKeyFile(Path("b")),
        ApiKeyCommand(("a",)),
    ]
    apps = [replace(APP, credential=source) for source in sources]
    assert len({source_fingerprint(app) for app in apps}) == 3


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            SystemdCredential("payments", Path("/run/credentials/refresherd.service")),
            "ApiKeyFile(path=PosixPath('/run/credentials/refresherd.service/payments'))",
        ),
        (ApiKeyFile(Path("/etc/a.key")), "ApiKeyFile(path=PosixPath('/etc/a.key'))"),
        (ApiKeyEnv("DSM_KEY"), "ApiKeyEnv(variable='DSM_KEY')"),
        (ApiKeyCommand(("pass", "dsm")), "ApiKeyCommand(argv=('pass', 'dsm'))"),
    ],
)
def test_the_first_version_made_the_same_fingerprints(source: Credential, text: str) -> None:
    """Otherwise each app would lose its session at an upgrade, and at a downgrade again."""
    app = replace(APP, credential=source)
    assert source_fingerprint(app) == sha256(text.encode()).hexdigest()


def test_a_session_that_was_bound_to_another_app_is_dropped() -> None:
    """Its consumers are that app's, so after a restart with another `bind_to` it is of no use."""
    app = replace(APP, endpoint=Endpoint(RECORD.endpoint))
    bound = replace(app, bind_to="0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10")
    assert RECORD.mismatch(app, "boot") == ""
    assert RECORD.mismatch(bound, "boot") == "it was obtained with another credential or bind_to"


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
    names = [sessions.add(b"") for _ in range(MAX_SESSIONS)]
    assert len(set(names)) == MAX_SESSIONS
    assert all(map(is_session, names))
    assert len(f"LISTEN_FDNAMES={SOCKETS}{':'.join(names)}") < LONGEST_VARIABLE
    assert sessions.entries.full
    with pytest.raises(OutputError, match="holds 20000 sessions, and cannot pass on more"):
        sessions.add(b"")
    sessions.entries.remove([names[7]])
    assert sessions.add(b"") not in names[:7] + names[8:]


@given(st.lists(st.integers(0, 40)))
def test_no_two_entries_have_the_same_name(removals: list[int]) -> None:
    """Removing the one would remove the other."""
    sessions = FdSessions(SilentNotifier(), "boot")
    used = [sessions.add(b"") for _ in range(20)]
    for number in removals:
        if number < len(used):
            sessions.entries.remove([used.pop(number)])
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
    await first_run(notifier).put(token(1))
    manager.read()
    ((name, (fd,)),) = manager.stored.items()
    passed = os.dup(fd)
    sessions = FdSessions(notifier, "boot")
    assert sessions.adopt([Descriptor(passed, name)], {APP.name: APP}) == []
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
    sessions.entries.remove([name])
    assert sessions.entries.full
    manager.read()
    sessions.entries.remove([])
    manager.read()
    assert (sessions.entries.full, manager.stored) == (False, {})


def test_a_host_without_memory_for_it_is_reported(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller tries again, as with any output."""

    def full(*_: object) -> int:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(os, "memfd_create", full)
    with pytest.raises(OutputError, match="cannot store the session: Too many open files"):
        FdSessions(notifier, "boot").add(b"")
