"""A socket that hands out whole, valid tokens, and recovers from any mishap."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from refresherd.adapters.outputs.sockets import SocketOutput
from refresherd.domain import readiness, session_state
from refresherd.domain.errors import OutputError
from refresherd.domain.events import OutputFailed, OutputWritten
from refresherd.domain.model import Format, Grant, Ownership, Secret, SocketSpec, Token
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.ports import WatchedOutput
from refresherd.host.admission import Admission
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.unix_sockets import BoundSocket, bind, from_socket_unit
from support.api_place import IDLE_TIMEOUT, eventually
from support.fake_app import FakeApp, running
from support.fakes import grants, settle
from support.other_users import AS_ROOT, Identity, answer, reachable

FIRST, SECOND = islice(grants(), 2)
PRIVATE = Ownership(mode=0o600)


@pytest.fixture
def path() -> Iterator[Path]:
    """Return the path for the socket, short enough for one."""
    with reachable() as directory:
        yield directory / "payments.sock"


@pytest.fixture
def fake_app() -> FakeApp:
    """Return an app with fakes around it."""
    return FakeApp(grants())


def output_of(
    fake_app: FakeApp, path: Path, form: Format = Format.RAW, ownership: Ownership = PRIVATE
) -> SocketOutput:
    """Return a socket output of the app."""
    return SocketOutput(
        fake_app.app,
        SocketSpec(path, form, ownership),
        fake_app.context,
        KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
        Admission(fake_app.context.observer),
    )


def token(fake_app: FakeApp, grant: Grant = FIRST) -> Token:
    """Return a token that was issued just now."""
    now = fake_app.clock.now()
    session = session_state.granted(session_state.begin(now), grant, now, fake_app.app.timing, 0.0)
    assert session.token is not None
    return session.token


async def read(path: Path, sent: bytes = b"") -> bytes:
    """Return what a client reads until the end of file."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0)
        await loop.sock_connect(client, str(path))
        if sent:
            client.send(sent)
        pieces = []
        async with asyncio.timeout(10):
            while piece := await loop.sock_recv(client, 65536):
                pieces.append(piece)
        return b"".join(pieces)


@pytest.mark.parametrize("form", Format)
async def test_a_client_reads_one_whole_token_in_its_format(
    fake_app: FakeApp, path: Path, form: Format
) -> None:
    """The end of file follows, which is what `nc -U` and systemd wait for."""
    output = output_of(fake_app, path, form)
    await output.prepare()
    await output.put(token(fake_app))
    text = (await read(path)).decode()
    assert text.count("token-1") == 1
    assert text == "token-1" if form is Format.RAW else text.endswith("\n")
    output.close()


async def test_expires_in_counts_from_the_answer(fake_app: FakeApp, path: Path) -> None:
    """It would be wrong if it counted from when the token was issued."""
    output = output_of(fake_app, path, Format.JSON)
    await output.put(token(fake_app))
    fake_app.clock.advance(100.5)
    assert json.loads(await read(path))["expires_in"] == 499
    output.close()


async def test_many_clients_are_served_at_once(fake_app: FakeApp, path: Path) -> None:
    """All services of a host may start together."""
    output = output_of(fake_app, path)
    await output.put(token(fake_app))
    assert set(await asyncio.gather(*(read(path) for _ in range(300)))) == {b"token-1"}
    output.close()


async def test_readers_see_whole_tokens_through_any_number_of_refreshes(
    fake_app: FakeApp, path: Path
) -> None:
    """Every answer is a token that was issued, and never half of one."""
    output = output_of(fake_app, path)
    await output.put(token(fake_app))
    seen: set[bytes] = set()

    async def go_on_reading() -> None:
        while True:
            seen.add(await read(path))

    readers = [asyncio.create_task(go_on_reading()) for _ in range(4)]
    for grant in islice(grants(), 100):
        await output.put(token(fake_app, grant))
        await asyncio.sleep(0.001)
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    assert len(seen) > 10
    assert seen <= {f"token-{number}".encode() for number in range(1, 101)}
    output.close()


async def test_without_a_valid_token_the_answer_is_empty(fake_app: FakeApp, path: Path) -> None:
    """An empty answer is the only way to refuse; `ExecStartPre=test -s` can check for it."""
    output = output_of(fake_app, path)
    await output.prepare()
    assert await read(path) == b""
    await output.put(token(fake_app))
    assert await read(path) == b"token-1"
    fake_app.clock.advance(600)
    assert await read(path) == b""
    await output.put(token(fake_app, SECOND))
    assert await read(path) == b"token-2"
    await output.remove()
    assert await read(path) == b""
    assert output.removes_expired
    output.close()


async def test_what_a_client_sends_is_ignored(fake_app: FakeApp, path: Path) -> None:
    """A client that sends something must still read an end of file, and not an error."""
    output = output_of(fake_app, path)
    await output.put(token(fake_app))
    assert await read(path, sent=b"GET / HTTP/1.1\r\n\r\n") == b"token-1"
    output.close()


async def test_a_client_that_does_not_read_is_disconnected(fake_app: FakeApp, path: Path) -> None:
    """It holds up nobody meanwhile. The answer has to be far longer than a token for this."""
    output = SocketOutput(
        fake_app.app,
        SocketSpec(path, Format.RAW, PRIVATE),
        fake_app.context,
        KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
        Admission(fake_app.context.observer),
        send_timeout=0.2,
    )
    await output.put(token(fake_app, replace(FIRST, access_token=Secret("x" * 1_000_000))))
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(str(path))
        assert len(await read(path)) == 1_000_000
        await asyncio.sleep(0.5)
        stuck.settimeout(5)
        received = 0
        while piece := stuck.recv(65536):
            received += len(piece)
        assert 0 < received < 1_000_000
    output.close()


async def test_the_socket_has_the_configured_mode(fake_app: FakeApp, path: Path) -> None:
    """The mode decides who may connect."""
    output = output_of(fake_app, path, ownership=Ownership(mode=0o640))
    await output.prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    output.close()


@AS_ROOT
async def test_only_users_whom_the_mode_admits_can_connect(fake_app: FakeApp, path: Path) -> None:
    """The file's owner, group and mode are the only access control."""
    output = output_of(fake_app, path, ownership=Ownership(0o660, owner="", group="5678"))
    await output.put(token(fake_app))
    member, other = Identity("1234", "1234", "5678"), Identity("1234")
    assert await asyncio.to_thread(answer, path, "", member) == "token-1"
    with pytest.raises(subprocess.CalledProcessError):
        await asyncio.to_thread(answer, path, "", other)
    output.close()


async def test_a_missing_directory_is_an_error_until_it_is_there(
    fake_app: FakeApp, path: Path
) -> None:
    """The next try finds it, as with files."""
    path = path.parent / "later" / "payments.sock"
    output = output_of(fake_app, path)
    with pytest.raises(OutputError, match=rf"cannot listen on {path}: there is no directory"):
        await output.prepare()
    path.parent.mkdir()
    await output.put(token(fake_app))
    assert await read(path) == b"token-1"
    output.close()


async def test_a_file_or_another_daemons_socket_is_left_alone(
    fake_app: FakeApp, path: Path
) -> None:
    """The operator has to decide what to do with it."""
    output = output_of(fake_app, path)
    path.write_text("precious")
    with pytest.raises(OutputError, match="a file is there; move it away, or name another path"):
        await output.prepare()
    assert path.read_text() == "precious"
    path.unlink()
    other = bind(path, PRIVATE)
    with pytest.raises(OutputError, match="another process answers there"):
        await output.put(token(fake_app))
    other.close()
    await output.put(token(fake_app))
    assert await read(path) == b"token-1"
    output.close()


async def test_a_removed_socket_is_bound_again_with_the_next_token(
    fake_app: FakeApp, path: Path
) -> None:
    """Somebody may have tidied up /run, which must not require a restart."""
    output = output_of(fake_app, path)
    await output.put(token(fake_app))
    path.unlink()
    await output.put(token(fake_app, SECOND))
    assert await read(path) == b"token-2"
    await output.put(token(fake_app))
    assert await read(path) == b"token-1"
    output.close()


async def test_closing_stops_serving_and_removes_the_socket(fake_app: FakeApp, path: Path) -> None:
    """The app was removed from the configuration, so nobody gets its token any more."""
    output = output_of(fake_app, path)
    output.close()
    await output.put(token(fake_app))
    assert not path.exists()
    served = output_of(fake_app, path)
    await served.put(token(fake_app))
    served.close()
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        await read(path)


async def test_closing_disconnects_clients(fake_app: FakeApp, path: Path) -> None:
    """A stop does not wait for clients."""
    output = output_of(fake_app, path)
    await output.put(token(fake_app, replace(FIRST, access_token=Secret("x" * 1_000_000))))
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(str(path))
        await asyncio.sleep(0.05)
        output.close()
        await settle()
        stuck.settimeout(5)
        received = b"".join(iter(lambda: stuck.recv(65536), b""))
        assert len(received) < 1_000_000


class Slow:
    """Binds sockets on a filesystem that hangs until `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.bound: list[BoundSocket] = []

    def __call__(self, path: Path, ownership: Ownership) -> BoundSocket:
        """Bind when the filesystem no longer hangs."""
        assert self.go_on.wait(10)
        self.bound.append(bind(path, ownership))
        return self.bound[-1]


async def test_a_socket_that_was_bound_too_late_is_still_served(
    fake_app: FakeApp, path: Path
) -> None:
    """Nobody waits for it any more after the error, but clients find it."""
    slow = Slow()
    spec = SocketSpec(path, Format.RAW, PRIVATE)
    output = SocketOutput(
        fake_app.app,
        spec,
        fake_app.context,
        KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
        Admission(fake_app.context.observer),
        listen=slow,
        patience=0.1,
    )
    with pytest.raises(OutputError, match=r"no answer for 0\.1 s; its filesystem hangs"):
        await output.put(token(fake_app))
    slow.go_on.set()
    await eventually(path.exists)
    assert await read(path) == b"token-1"
    output.close()
    assert not path.exists()


async def test_a_socket_that_is_bound_after_closing_is_removed(
    fake_app: FakeApp, path: Path
) -> None:
    """A stop does not wait for a hanging filesystem, and must not leave the socket behind."""
    slow = Slow()
    executor = KeyedExecutor(idle_timeout=IDLE_TIMEOUT)
    output = SocketOutput(
        fake_app.app,
        SocketSpec(path),
        fake_app.context,
        executor,
        Admission(fake_app.context.observer),
        listen=slow,
    )
    preparing = asyncio.create_task(output.prepare())
    await asyncio.sleep(0.05)
    preparing.cancel()
    await asyncio.wait({preparing})
    output.close()
    slow.go_on.set()
    await executor.drained()
    await eventually(lambda: not path.exists())
    (bound,) = slow.bound
    await eventually(lambda: bound.socket.fileno() == -1)


async def test_a_path_can_pass_to_another_output_while_it_is_being_bound(
    fake_app: FakeApp, path: Path
) -> None:
    """A reload may follow the start at once, and the path then has a new owner."""
    slow = Slow()
    executor = KeyedExecutor(idle_timeout=IDLE_TIMEOUT)
    earlier, other, later = (
        SocketOutput(
            fake_app.app,
            SocketSpec(path),
            fake_app.context,
            executor,
            Admission(fake_app.context.observer),
            listen=slow,
        )
        for _ in range(3)
    )
    first = asyncio.create_task(earlier.prepare())
    await asyncio.sleep(0.05)
    first.cancel()
    second = asyncio.create_task(other.prepare())
    last = asyncio.create_task(later.put(token(fake_app)))
    await settle()
    earlier.close()
    other.close()
    slow.go_on.set()
    await asyncio.wait((first, second, last))
    await last
    assert await read(path) == b"token-1"
    assert len(slow.bound) == 2, "the one under way, and the last"
    later.close()


async def test_an_app_is_ready_when_its_socket_has_the_newest_token(path: Path) -> None:
    """Readiness, events and metrics treat a socket like any other output."""
    fake_app = FakeApp(grants())
    app = replace(fake_app.app, sockets=(SocketSpec(path, Format.RAW, PRIVATE),))
    output: WatchedOutput = SocketOutput(
        app,
        app.sockets[0],
        fake_app.context,
        KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
        Admission(fake_app.context.observer),
    )
    runner = AppRunner(app, replace(fake_app.app_context, outputs=(output,)), fake_app.context)
    path.mkdir()
    async with running(runner.run()):
        await eventually(lambda: bool(fake_app.observer.of(OutputFailed)))
        now = fake_app.clock.now()
        (reason,) = readiness.reasons(runner.status(), now)
        assert reason.endswith("a directory is there; move it away, or name another path")
        path.rmdir()
        await fake_app.schedule.advance(1)
        await eventually(lambda: bool(fake_app.observer.of(OutputWritten)))
        assert readiness.ready(runner.status(), fake_app.clock.now())
        assert await read(path) == b"token-1"
        (written,) = fake_app.observer.of(OutputWritten)
        assert (written.output, written.generation) == (str(path), 1)
    runner.close()
    assert not path.exists()


@pytest.mark.timing
async def test_idle_clients_do_not_hold_up_others(fake_app: FakeApp, path: Path) -> None:
    """Some clients connect and leave, others stay; the next one is served at once."""
    output = output_of(fake_app, path)
    await output.put(token(fake_app))
    idle = []
    for _ in range(200):
        one = socket.socket(socket.AF_UNIX)
        one.connect(str(path))
        idle.append(one)
        if len(idle) % 2:
            idle.pop().close()
    began = time.monotonic()
    assert await read(path) == b"token-1"
    assert time.monotonic() - began < 2
    for one in idle:
        one.close()
    output.close()


def test_binding_does_not_change_the_umask(fake_app: FakeApp, path: Path) -> None:
    """All threads share it, so files that are written meanwhile would get the wrong mode."""
    before = os.umask(0o027)
    try:

        async def prepare() -> None:
            output = output_of(fake_app, path)
            await output.prepare()
            output.close()

        asyncio.run(prepare())
    finally:
        assert os.umask(before) == 0o027


async def test_a_lent_socket_is_served_and_never_replaced(fake_app: FakeApp, path: Path) -> None:
    """Systemd keeps it open, so clients that connect during a restart wait for the answer."""
    passed = bind(path, PRIVATE)
    inode = path.stat().st_ino

    def listen(wanted: Path, ownership: Ownership) -> BoundSocket:
        return from_socket_unit(passed.socket, path) if wanted == path else bind(wanted, ownership)

    for _ in range(2):
        output = SocketOutput(
            fake_app.app,
            SocketSpec(path),
            fake_app.context,
            KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
            Admission(fake_app.context.observer),
            listen=listen,
        )
        reading = asyncio.create_task(read(path))
        await output.prepare()
        await asyncio.sleep(0.05)
        assert not reading.done()
        await output.put(token(fake_app))
        assert await reading == b"token-1"
        output.close()
        assert path.stat().st_ino == inode
    other = path.with_name("other.sock")
    elsewhere = SocketOutput(
        fake_app.app,
        SocketSpec(other),
        fake_app.context,
        KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
        Admission(fake_app.context.observer),
        listen=listen,
    )
    await elsewhere.put(token(fake_app))
    assert await read(other) == b"token-1"
    elsewhere.close()
    assert not other.exists()
    passed.close()


def on_unit_socket(fake_app: FakeApp, path: Path, listening: socket.socket) -> SocketOutput:
    """Return an output on a socket of a socket unit."""
    executor = KeyedExecutor(idle_timeout=IDLE_TIMEOUT)
    listen = lambda _path, _ownership: from_socket_unit(listening, path)  # noqa: E731  # a Listen
    return SocketOutput(
        fake_app.app,
        SocketSpec(path),
        fake_app.context,
        executor,
        Admission(fake_app.context.observer),
        listen=listen,
    )


async def test_clients_of_a_lent_socket_that_is_dropped_are_turned_away(
    fake_app: FakeApp, path: Path
) -> None:
    """Systemd still listens there: they would wait for ever. Until the socket is wanted again."""
    passed = bind(path, PRIVATE)
    output = on_unit_socket(fake_app, path, passed.socket)
    await output.put(token(fake_app))
    output.close()
    waiting = asyncio.create_task(read(path))
    await asyncio.sleep(0.05)
    assert not waiting.done(), "a restarted app may go on with it"
    assert "its clients are turned away" in await output.discard()
    assert await waiting == b""
    assert await read(path) == b""
    later = on_unit_socket(fake_app, path, passed.socket)
    await later.prepare()
    waiting = asyncio.create_task(read(path))
    await asyncio.sleep(0.05)
    assert not waiting.done(), "it waits for the first token"
    await later.put(token(fake_app))
    assert await waiting == b"token-1"
    later.close()
    passed.close()


async def test_what_a_refresh_made_good_is_named(fake_app: FakeApp, path: Path) -> None:
    """It may come before anybody has looked at the socket."""
    output = output_of(fake_app, path)
    assert (await output.put(token(fake_app))).altered == ""
    path.unlink()
    assert (await output.put(token(fake_app, SECOND))).altered == "somebody removed it"
    assert (await output.put(token(fake_app))).altered == ""
    assert output.look() is None
    output.close()


async def test_clients_of_a_kept_socket_do_not_wait_for_ever(fake_app: FakeApp, path: Path) -> None:
    """DSM may have refused the app meanwhile: the start of a unit must not hang on that."""
    kept = replace(bind(path, PRIVATE), queued=True)
    output = SocketOutput(
        fake_app.app,
        SocketSpec(path),
        fake_app.context,
        KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
        Admission(fake_app.context.observer),
        listen=lambda _path, _ownership: kept,
        first_token=0.1,
    )
    await output.prepare()
    reading = asyncio.create_task(read(path))
    await asyncio.sleep(0.02)
    assert not reading.done()
    assert await reading == b""
    output.close()


async def test_a_lent_socket_that_nobody_reaches_is_an_error(fake_app: FakeApp, path: Path) -> None:
    """Only its unit can make it anew."""
    passed = bind(path, PRIVATE)
    output = on_unit_socket(fake_app, path, passed.socket)
    await output.put(token(fake_app))
    path.unlink()
    found = output.look()
    assert found is not None
    assert output.confirm(found) == "somebody removed it"
    cure = "somebody removed it; restart its socket unit, and then refresherd"
    with pytest.raises(OutputError, match=cure):
        await output.put(token(fake_app))
    output.close()
    passed.close()


async def test_accepted_clients_are_answered_when_the_daemon_ends(
    fake_app: FakeApp, path: Path
) -> None:
    """A restart must not fail a read that has begun, however long the answer is."""
    output = output_of(fake_app, path)
    long = replace(FIRST, access_token=Secret("t" * 3_000_000))
    await output.put(token(fake_app, long))
    reading = asyncio.create_task(read(path))
    await asyncio.sleep(0.01)
    output.leave()
    assert len(await reading) == 3_000_000
    assert not path.exists(), "nobody keeps this socket for the next run"


async def test_readers_are_remembered_for_operators(fake_app: FakeApp, path: Path) -> None:
    """The status names who uses a token, however it is read."""
    output = output_of(fake_app, path)
    await output.put(token(fake_app))
    await read(path)
    output.close()
    (consumer,) = fake_app.context.consumers.of(fake_app.app.name)
    assert (consumer.uid, consumer.unit) == (os.getuid(), "")
