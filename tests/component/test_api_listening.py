"""Where the API listens, who may connect, and what a stop leaves behind."""

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from refresherd.adapters.api.listener import CHECK_SECONDS, ApiListener
from refresherd.domain.errors import RefresherdError
from refresherd.domain.events import Warned
from refresherd.domain.model import Ownership
from refresherd.engine.supervisor import Supervisor
from refresherd.host.admission import Admission
from refresherd.host.keyed_executor import KeyedExecutor
from support.api_place import IDLE_TIMEOUT
from support.fake_app import FakeApp
from support.fakes import RecordingObserver

OPEN = Ownership(mode=0o666)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def listening(
    path: Path,
    ownership: Ownership = OPEN,
    passed: socket.socket | None = None,
    observer: RecordingObserver | None = None,
) -> ApiListener:
    """Return a listener that serves no apps; the default directory is named `run`."""
    supervisor = Supervisor((), lambda _: FakeApp().app_context, FakeApp().context)
    context = replace(FakeApp().context, observer=observer or RecordingObserver())
    return ApiListener(
        path,
        ownership,
        supervisor,
        context,
        KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
        passed=passed,
        admission=Admission(context.observer),
        default_directory=path.parent.parent / "run",
    )


async def assert_answers(path: Path) -> None:
    """Assert that the API is served at a path."""
    async with (
        ClientSession("http://x", connector=UnixConnector(str(path))) as client,
        client.get("/v1/apps") as response,
    ):
        assert await response.json() == {"apps": []}


async def test_the_socket_is_there_from_start_to_stop(directory: Path) -> None:
    """It has the configured mode; who may read a token is decided elsewhere."""
    path = directory / "api.sock"
    served = listening(path, Ownership(mode=0o660))
    await served.start()
    await assert_answers(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    await served.stop()
    assert not path.exists()


async def socket_at(path: Path) -> None:
    """Return once there is a socket at a path."""
    async with asyncio.timeout(30):
        while not path.is_socket():  # noqa: ASYNC110  # no event announces it
            await asyncio.sleep(0.05)


async def test_a_socket_that_was_removed_comes_back(directory: Path) -> None:
    """A clean-up of /run must not cut consumers off until a restart."""
    path = directory / "api.sock"
    served = listening(path)
    await served.start()
    path.unlink()
    await socket_at(path)
    await assert_answers(path)
    await served.stop()
    assert not path.exists()


async def warned(observer: RecordingObserver) -> str:
    """Return the first warning as soon as there is one."""
    async with asyncio.timeout(30):
        while not observer.of(Warned):  # noqa: ASYNC110  # the observer has no event to wait for
            await asyncio.sleep(0.05)
    return observer.of(Warned)[0].message


async def test_the_sockets_rights_are_restored_and_that_is_reported(directory: Path) -> None:
    """Somebody who closes it shuts every consumer out, without a trace of who did that."""
    path, observer = directory / "api.sock", RecordingObserver()
    served = listening(path, observer=observer)
    await served.start()
    path.chmod(0o600)
    assert await warned(observer) == (
        f"the API's socket {path}: somebody changed its mode from 0666 to 0600; it was restored"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    await served.stop()


async def test_the_removal_of_a_passed_socket_is_reported_with_the_cure(directory: Path) -> None:
    """Only systemd can make it anew: the daemon's own would be another."""
    path, observer = directory / "api.sock", RecordingObserver()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        served = listening(path, passed=made, observer=observer)
        await served.start()
        path.unlink()
        assert await warned(observer) == (
            f"cannot listen on {path}: somebody removed it; restart refresherd-api.socket, and "
            "then refresherd"
        )
        await served.stop()


async def test_a_file_in_the_place_of_a_passed_socket_is_reported(directory: Path) -> None:
    """It may lie there before the daemon starts, so that clients never reach the socket."""
    path, observer = directory / "api.sock", RecordingObserver()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        path.unlink()
        path.write_text("precious")
        served = listening(path, passed=made, observer=observer)
        await served.start()
        assert await warned(observer) == (
            f"cannot listen on {path}: somebody put a file in its place; restart "
            "refresherd-api.socket, and then refresherd"
        )
        await served.stop()
    assert path.read_text() == "precious"


async def test_a_passed_socket_whose_path_is_out_of_sight_is_served(directory: Path) -> None:
    """The sandbox of the daemon's unit may hide the path, which clients reach all the same."""
    path, observer = directory / "api.sock", RecordingObserver()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        shown = path.rename(directory / "outside.sock")
        served = listening(path, passed=made, observer=observer)
        await served.start()
        await asyncio.sleep(CHECK_SECONDS * 1.5)
        await assert_answers(shown)
        assert not observer.of(Warned)
        await served.stop()


@pytest.mark.parametrize(("mode", "is_more"), [(0o666, True), (0o660, False), (0o640, False)])
async def test_a_socket_unit_that_admits_more_users_is_reported(
    directory: Path, mode: int, *, is_more: bool
) -> None:
    """The `mode` in the configuration has no effect there, and its author relies on it."""
    path, observer = directory / "api.sock", RecordingObserver()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        path.chmod(mode)
        served = listening(path, Ownership(0o660), passed=made, observer=observer)
        await served.start()
        await served.stop()
    found = [event.message for event in observer.of(Warned)]
    message = (
        f"the API's socket {path} has mode 0666 from its socket unit, and not 0660 from the "
        "configuration; set SocketMode= in the unit"
    )
    assert found == ([message] if is_more else [])


async def test_a_file_in_the_sockets_place_is_reported_once_and_left_alone(directory: Path) -> None:
    """It belongs to somebody; once they move it away, the API comes back by itself."""
    path, observer = directory / "api.sock", RecordingObserver()
    served = listening(path, observer=observer)
    await served.start()
    path.unlink()
    path.touch()
    async with asyncio.timeout(30):
        while not observer.of(Warned):  # noqa: ASYNC110  # the observer has no event to wait for
            await asyncio.sleep(0.05)
    assert "a file is there; move it away, or name another path" in observer.of(Warned)[0].message
    await asyncio.sleep(CHECK_SECONDS * 1.5)
    assert len(observer.of(Warned)) == 1
    path.unlink()
    await socket_at(path)
    await assert_answers(path)
    await served.stop()


async def test_a_listener_may_be_stopped_twice_or_unstarted(directory: Path) -> None:
    """A start that failed half-way is stopped like any other."""
    served = listening(directory / "api.sock")
    await served.stop()
    await served.start()
    await served.stop()
    await served.stop()


async def test_a_second_daemon_is_refused_and_the_first_goes_on(directory: Path) -> None:
    """The refusal is one line that says why."""
    path = directory / "api.sock"
    first, second = listening(path), listening(path)
    await first.start()
    with pytest.raises(RefresherdError, match="another process answers there"):
        await second.start()
    await second.stop()
    await assert_answers(path)
    await first.stop()


async def test_a_socket_passed_in_is_served_and_left_alone(directory: Path) -> None:
    """It is the service manager's: clients that connect between two daemons wait in its queue."""
    path = directory / "api.sock"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen()
        for _ in range(2):
            served = listening(path, passed=passed)
            await served.start()
            await assert_answers(path)
            await served.stop()
            assert path.exists()
            assert passed.fileno() >= 0


async def test_clients_that_connect_during_a_stop_are_served_by_the_next_daemon(
    directory: Path,
) -> None:
    """The apps of the first are about to stop, so it would have to refuse them."""
    path = directory / "api.sock"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen()
        first, second = listening(path, passed=passed), listening(path, passed=passed)
        await first.start()
        await first.leave()
        waiting = asyncio.create_task(assert_answers(path))
        await asyncio.sleep(0)
        await first.stop()
        assert not waiting.done()
        await second.start()
        await waiting
        await second.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes the directory")
@pytest.mark.parametrize("exists", [False, True])
async def test_root_may_start_without_the_default_directory(
    directory: Path, *, exists: bool
) -> None:
    """The daemon works as soon as it is installed; it creates no other directory."""
    run = directory / "run"
    if exists:
        run.mkdir(mode=0o700)
    before = os.umask(0o077)
    try:
        served = listening(run / "api.sock")
        await served.start()
    finally:
        os.umask(before)
    assert stat.S_IMODE(run.stat().st_mode) == (0o700 if exists else 0o755)
    await assert_answers(run / "api.sock")
    await served.stop()


async def test_any_other_directory_must_exist(directory: Path) -> None:
    """With a typing error in the path, consumers would find no socket."""
    with pytest.raises(RefresherdError, match=r"there is no directory .*/rnu; create it"):
        await listening(directory / "rnu" / "api.sock").start()


async def test_without_root_a_missing_default_directory_is_an_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the cure: another path, or systemd."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RefresherdError, match=r"there is no directory .*RuntimeDirectory="):
        await listening(directory / "run" / "api.sock").start()
