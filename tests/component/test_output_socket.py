"""A socket that hands out a token: whole, valid, and again after any mishap."""

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

from refresherd.adapters.outputs import handout
from refresherd.adapters.outputs.socket import SocketOutput
from refresherd.domain import readiness, session_state
from refresherd.domain.errors import OutputError
from refresherd.domain.events import OutputFailed, OutputWritten
from refresherd.domain.model import Format, Grant, Ownership, Secret, SocketSpec, Token
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.ports import Output
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.unix_sockets import BoundSocket, bind, lending
from support.api_place import BRIEF, eventually
from support.fake_app import Kept, running
from support.fakes import grants, settle
from support.other_users import AS_ROOT, As, answer, reachable

FIRST, SECOND = islice(grants(), 2)
PRIVATE = Ownership(mode=0o600)


@pytest.fixture
def path() -> Iterator[Path]:
    """Return where the socket is to be: short enough for one."""
    with reachable() as directory:
        yield directory / "payments.sock"


@pytest.fixture
def kept() -> Kept:
    """Return an app with fakes around it."""
    return Kept(grants())


def output_of(
    kept: Kept, path: Path, form: Format = Format.RAW, ownership: Ownership = PRIVATE
) -> SocketOutput:
    """Return an output of the app's."""
    return SocketOutput(
        kept.app, SocketSpec(path, form, ownership), kept.context, KeyedExecutor(BRIEF)
    )


def token(kept: Kept, grant: Grant = FIRST) -> Token:
    """Return a token that was issued just now."""
    now = kept.clock.now()
    session = session_state.granted(session_state.begin(now), grant, now, kept.app.timing, 0.0)
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
    kept: Kept, path: Path, form: Format
) -> None:
    """And then the end of file, which is all that `nc -U` and systemd wait for."""
    output = output_of(kept, path, form)
    await output.prepare()
    await output.put(token(kept))
    text = (await read(path)).decode()
    assert text.count("token-1") == 1
    assert text == "token-1" if form is Format.RAW else text.endswith("\n")
    output.close()


async def test_what_is_left_of_its_life_counts_from_the_answer(kept: Kept, path: Path) -> None:
    """Not from when the token came."""
    output = output_of(kept, path, Format.JSON)
    await output.put(token(kept))
    kept.clock.advance(100.5)
    assert json.loads(await read(path))["expires_in"] == 499
    output.close()


async def test_any_number_is_served_at_once(kept: Kept, path: Path) -> None:
    """All services of a host may start together."""
    output = output_of(kept, path)
    await output.put(token(kept))
    assert set(await asyncio.gather(*(read(path) for _ in range(300)))) == {b"token-1"}
    output.close()


async def test_readers_see_whole_tokens_through_any_number_of_refreshes(
    kept: Kept, path: Path
) -> None:
    """Each of them once issued, and none of them half."""
    output = output_of(kept, path)
    await output.put(token(kept))
    seen: set[bytes] = set()

    async def go_on_reading() -> None:
        while True:
            seen.add(await read(path))

    readers = [asyncio.create_task(go_on_reading()) for _ in range(4)]
    for grant in islice(grants(), 100):
        await output.put(token(kept, grant))
        await asyncio.sleep(0.001)
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    assert len(seen) > 10
    assert seen <= {f"token-{number}".encode() for number in range(1, 101)}
    output.close()


async def test_without_a_valid_token_there_is_nothing_to_read(kept: Kept, path: Path) -> None:
    """There is no other way to say no: `ExecStartPre=test -s` understands it."""
    output = output_of(kept, path)
    await output.prepare()
    assert await read(path) == b""
    await output.put(token(kept))
    assert await read(path) == b"token-1"
    kept.clock.advance(600)
    assert await read(path) == b""
    await output.put(token(kept, SECOND))
    assert await read(path) == b"token-2"
    await output.remove()
    assert await read(path) == b""
    assert output.removes_expired
    output.close()


async def test_what_a_client_sends_is_ignored(kept: Kept, path: Path) -> None:
    """A confused one speaks first; it must read an end of file all the same, and no error."""
    output = output_of(kept, path)
    await output.put(token(kept))
    assert await read(path, sent=b"GET / HTTP/1.1\r\n\r\n") == b"token-1"
    output.close()


async def test_a_client_that_does_not_read_is_cut_off(
    kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And holds up nobody meanwhile. It takes more than any token to get that far."""
    monkeypatch.setattr(handout, "STUCK_SECONDS", 0.2)
    output = output_of(kept, path)
    await output.put(token(kept, replace(FIRST, access_token=Secret("x" * 1_000_000))))
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


async def test_mode_and_owner_are_those_configured(kept: Kept, path: Path) -> None:
    """From before the first client could connect."""
    output = output_of(kept, path, ownership=Ownership(mode=0o640))
    await output.prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    output.close()


@AS_ROOT
async def test_only_those_whom_the_mode_admits_can_connect(kept: Kept, path: Path) -> None:
    """The file's rights are the whole of it."""
    output = output_of(kept, path, ownership=Ownership(0o660, owner="", group="5678"))
    await output.put(token(kept))
    member, other = As("1234", "1234", "5678"), As("1234")
    assert await asyncio.to_thread(answer, path, "", member) == "token-1"
    with pytest.raises(subprocess.CalledProcessError):
        await asyncio.to_thread(answer, path, "", other)
    output.close()


async def test_a_directory_that_is_missing_is_told_and_may_come_later(
    kept: Kept, path: Path
) -> None:
    """As with files: the next try finds it."""
    path = path.parent / "later" / "payments.sock"
    output = output_of(kept, path)
    with pytest.raises(OutputError, match=rf"cannot listen on {path}: there is no directory"):
        await output.prepare()
    path.parent.mkdir()
    await output.put(token(kept))
    assert await read(path) == b"token-1"
    output.close()


async def test_what_is_in_the_way_is_told_and_left_alone(kept: Kept, path: Path) -> None:
    """A file, or another daemon's socket."""
    output = output_of(kept, path)
    path.write_text("precious")
    with pytest.raises(OutputError, match="no socket"):
        await output.prepare()
    assert path.read_text() == "precious"
    path.unlink()
    other = bind(path, PRIVATE)
    with pytest.raises(OutputError, match="another process answers there"):
        await output.put(token(kept))
    other.close()
    await output.put(token(kept))
    assert await read(path) == b"token-1"
    output.close()


async def test_a_socket_that_was_removed_is_back_with_the_next_token(
    kept: Kept, path: Path
) -> None:
    """Somebody tidied up /run; the daemon need not be restarted for it."""
    output = output_of(kept, path)
    await output.put(token(kept))
    path.unlink()
    await output.put(token(kept, SECOND))
    assert await read(path) == b"token-2"
    await output.put(token(kept))
    assert await read(path) == b"token-1"
    output.close()


async def test_closing_stops_serving_and_removes_the_socket(kept: Kept, path: Path) -> None:
    """The app was configured away: its token is nobody's any more."""
    output = output_of(kept, path)
    output.close()
    await output.put(token(kept))
    assert not path.exists()
    served = output_of(kept, path)
    await served.put(token(kept))
    served.close()
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        await read(path)


async def test_closing_cuts_off_who_is_being_served(kept: Kept, path: Path) -> None:
    """A stop waits for nobody."""
    output = output_of(kept, path)
    await output.put(token(kept, replace(FIRST, access_token=Secret("x" * 1_000_000))))
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(str(path))
        await asyncio.sleep(0.05)
        before = asyncio.all_tasks()
        output.close()
        await settle()
        assert len(asyncio.all_tasks()) < len(before)


class Slow:
    """Binding on a filesystem that hangs until told."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.bound: list[BoundSocket] = []

    def __call__(self, path: Path, ownership: Ownership) -> BoundSocket:
        """Bind, late."""
        assert self.go_on.wait(10)
        self.bound.append(bind(path, ownership))
        return self.bound[-1]


async def test_a_hanging_filesystem_is_told_and_its_socket_served_when_it_comes(
    kept: Kept, path: Path
) -> None:
    """Nobody waits for it any more, and still it is the output's."""
    slow = Slow()
    spec = SocketSpec(path, Format.RAW, PRIVATE)
    output = SocketOutput(
        kept.app, spec, kept.context, KeyedExecutor(BRIEF), listen=slow, patience=0.1
    )
    with pytest.raises(OutputError, match=r"no answer for 0\.1 s; its filesystem hangs"):
        await output.put(token(kept))
    slow.go_on.set()
    await eventually(path.exists)
    assert await read(path) == b"token-1"
    output.close()
    assert not path.exists()


async def test_a_socket_that_comes_after_the_end_is_cleared_away(kept: Kept, path: Path) -> None:
    """A stop does not wait for a hanging filesystem, and must not leave its socket behind."""
    slow = Slow()
    executor = KeyedExecutor(BRIEF)
    output = SocketOutput(kept.app, SocketSpec(path), kept.context, executor, listen=slow)
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


async def test_a_path_passes_to_another_output_even_while_it_is_being_bound(
    kept: Kept, path: Path
) -> None:
    """A reload may follow the start at once: nobody is in the way but ourselves."""
    slow = Slow()
    executor = KeyedExecutor(BRIEF)
    earlier, other, later = (
        SocketOutput(kept.app, SocketSpec(path), kept.context, executor, listen=slow)
        for _ in range(3)
    )
    preparing = [asyncio.create_task(earlier.prepare())]
    await asyncio.sleep(0.05)
    preparing[0].cancel()
    preparing.append(asyncio.create_task(other.prepare()))
    preparing.append(asyncio.create_task(later.put(token(kept))))
    await settle()
    earlier.close()
    other.close()
    slow.go_on.set()
    await asyncio.wait(preparing)
    await preparing[-1]
    assert await read(path) == b"token-1"
    assert len(slow.bound) == 2, "the one under way, and the last"
    later.close()


async def test_an_app_is_ready_when_its_socket_hands_out_the_newest_token(path: Path) -> None:
    """A socket is an output like any other: readiness, events and metrics go by the same words."""
    kept = Kept(grants())
    app = replace(kept.app, sockets=(SocketSpec(path, Format.RAW, PRIVATE),))
    output: Output = SocketOutput(app, app.sockets[0], kept.context, KeyedExecutor(BRIEF))
    runner = AppRunner(app, replace(kept.app_context, outputs=(output,)), kept.context)
    path.mkdir()
    async with running(runner.run()):
        await eventually(lambda: bool(kept.observer.of(OutputFailed)))
        now = kept.clock.now()
        assert readiness.reasons(runner.status(), now)[0].endswith("no socket; move it away")
        path.rmdir()
        await kept.schedule.advance(1)
        await eventually(lambda: bool(kept.observer.of(OutputWritten)))
        assert readiness.ready(runner.status(), kept.clock.now())
        assert await read(path) == b"token-1"
        (written,) = kept.observer.of(OutputWritten)
        assert (written.output, written.generation) == (str(path), 1)
    runner.close()
    assert not path.exists()


@pytest.mark.timing
async def test_no_client_is_waited_for(kept: Kept, path: Path) -> None:
    """Clients that connect and leave, or stay, cost the next one nothing."""
    output = output_of(kept, path)
    await output.put(token(kept))
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


def test_the_umask_of_the_daemon_is_left_alone(kept: Kept, path: Path) -> None:
    """It belongs to all threads: files that are written meanwhile would get other rights."""
    before = os.umask(0o027)
    try:

        async def prepare() -> None:
            output = output_of(kept, path)
            await output.prepare()
            output.close()

        asyncio.run(prepare())
    finally:
        assert os.umask(before) == 0o027


async def test_a_socket_that_was_lent_is_served_and_never_touched(kept: Kept, path: Path) -> None:
    """It is systemd's, which listens on: whoever connects during a restart waits for the answer."""
    lent = bind(path, PRIVATE)
    inode = path.stat().st_ino
    listen = lending({path: lent.socket})
    for _ in range(2):
        output = SocketOutput(
            kept.app, SocketSpec(path), kept.context, KeyedExecutor(BRIEF), listen=listen
        )
        reading = asyncio.create_task(read(path))
        await output.prepare()
        await asyncio.sleep(0.05)
        assert not reading.done()
        await output.put(token(kept))
        assert await reading == b"token-1"
        output.close()
        assert path.stat().st_ino == inode
    other = path.with_name("other.sock")
    elsewhere = SocketOutput(
        kept.app, SocketSpec(other), kept.context, KeyedExecutor(BRIEF), listen=listen
    )
    await elsewhere.put(token(kept))
    assert await read(other) == b"token-1"
    elsewhere.close()
    assert not other.exists()
    lent.close()
