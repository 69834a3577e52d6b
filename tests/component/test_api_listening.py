"""Where the API listens, who may connect, and what it leaves behind."""

import asyncio
import os
import resource
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from refresherd.adapters.api import ApiListener, listener, service
from refresherd.adapters.api.listener import LOOK_SECONDS
from refresherd.adapters.api.quota import Shares
from refresherd.domain.errors import RefresherdError
from refresherd.domain.events import Warned
from refresherd.domain.model import Ownership
from refresherd.engine.supervisor import Supervisor
from refresherd.host.keyed_executor import KeyedExecutor
from support.api_place import BRIEF
from support.fake_app import Kept
from support.fakes import FakeClock, RecordingObserver

OPEN = Ownership(mode=0o666)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def listening(
    path: Path,
    ownership: Ownership = OPEN,
    passed: socket.socket | None = None,
    observer: RecordingObserver | None = None,
) -> ApiListener:
    """Return a listener of no apps."""
    supervisor = Supervisor((), lambda _: Kept().app_context, Kept().context)
    observer = observer or RecordingObserver()
    answers = service(supervisor, FakeClock(), observer, KeyedExecutor(BRIEF), str(path))
    return ApiListener(path, ownership, answers, observer, KeyedExecutor(), passed=passed)


async def assert_answers(path: Path) -> None:
    """Somebody serves the API there."""
    async with (
        ClientSession("http://x", connector=UnixConnector(str(path))) as client,
        client.get("/v1/apps") as response,
    ):
        assert await response.json() == {"apps": []}


async def test_the_socket_is_there_from_start_to_stop(directory: Path) -> None:
    """With the mode that was configured; who may read a token is another question."""
    path = directory / "api.sock"
    served = listening(path, Ownership(mode=0o660))
    await served.start()
    await assert_answers(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    await served.stop()
    assert not path.exists()


async def again(path: Path) -> None:
    """Return once there is a socket at a path."""
    async with asyncio.timeout(30):
        while not path.is_socket():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.05)


async def test_a_socket_that_was_removed_comes_back(directory: Path) -> None:
    """A clean-up of /run must not leave consumers without tokens until a restart."""
    path = directory / "api.sock"
    served = listening(path)
    await served.start()
    path.unlink()
    await again(path)
    await assert_answers(path)
    await served.stop()
    assert not path.exists()


async def test_what_is_in_a_sockets_place_is_told_once_and_left_alone(directory: Path) -> None:
    """It is somebody's; once they move it away, the API is back by itself."""
    path, observer = directory / "api.sock", RecordingObserver()
    served = listening(path, observer=observer)
    await served.start()
    path.unlink()
    path.touch()
    async with asyncio.timeout(30):
        while not observer.of(Warned):  # noqa: ASYNC110  # the observer has no event to wait for
            await asyncio.sleep(0.05)
    assert "no socket; move it away" in observer.of(Warned)[0].message
    await asyncio.sleep(LOOK_SECONDS * 1.5)
    assert len(observer.of(Warned)) == 1
    path.unlink()
    await again(path)
    await assert_answers(path)
    await served.stop()


async def test_stopping_twice_or_unstarted_is_fine(directory: Path) -> None:
    """What failed half-way is stopped like everything else."""
    served = listening(directory / "api.sock")
    await served.stop()
    await served.start()
    await served.stop()
    await served.stop()


async def test_a_second_daemon_is_refused_and_the_first_goes_on(directory: Path) -> None:
    """In one line that says so."""
    path = directory / "api.sock"
    first, second = listening(path), listening(path)
    await first.start()
    with pytest.raises(RefresherdError, match="another process answers there"):
        await second.start()
    await second.stop()
    await assert_answers(path)
    await first.stop()


async def test_a_socket_passed_in_is_served_and_left_alone(directory: Path) -> None:
    """It is the service manager's: clients that come between two daemons wait in its queue."""
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


async def test_whoever_comes_while_a_daemon_leaves_is_served_by_the_next(directory: Path) -> None:
    """The apps of the one that leaves are about to be stopped: it would have to refuse."""
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
@pytest.mark.parametrize("there", [False, True])
async def test_root_finds_the_default_directory_in_place(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    """The daemon works as soon as it is installed; other directories are not its to make."""
    run = directory / "run"
    monkeypatch.setattr(listener, "DEFAULT_DIRECTORY", run)
    if there:
        run.mkdir(mode=0o700)
    before = os.umask(0o077)
    try:
        served = listening(run / "api.sock")
        await served.start()
    finally:
        os.umask(before)
    assert stat.S_IMODE(run.stat().st_mode) == (0o700 if there else 0o755)
    await assert_answers(run / "api.sock")
    await served.stop()


async def test_any_other_directory_must_be_there(directory: Path) -> None:
    """A typing error would be followed by consumers that find no socket."""
    with pytest.raises(RefresherdError, match=r"there is no directory .*/rnu; create it"):
        await listening(directory / "rnu" / "api.sock").start()


async def test_who_is_not_root_is_told_about_the_default_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another path, or systemd, is the way out."""
    monkeypatch.setattr(listener, "DEFAULT_DIRECTORY", directory / "run")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RefresherdError, match=r"there is no directory .*RuntimeDirectory="):
        await listening(directory / "run" / "api.sock").start()


async def test_clients_leave_the_daemon_half_of_its_descriptors(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many users there are, DSM must still be reached, and files be written."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (6, 6))
    await assert_crowded(directory, after=3)


async def test_no_limit_of_descriptors_is_no_limit_of_nought(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's way of saying so is -1."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, -1))
    monkeypatch.setattr(Shares.__init__, "__defaults__", (3, 3, 3))
    await assert_crowded(directory, after=3)


async def assert_crowded(directory: Path, after: int) -> None:
    """So many connections are taken in, and the next is not."""
    path = directory / "api.sock"
    served = listening(path)
    await served.start()
    stuck = [socket.socket(socket.AF_UNIX) for _ in range(after)]
    for one in stuck:
        one.connect(str(path))
    async with (
        ClientSession("http://x", connector=UnixConnector(str(path))) as client,
        client.get("/v1/apps") as response,
    ):
        assert response.status == 503
    for one in stuck:
        one.close()
    await served.stop()
