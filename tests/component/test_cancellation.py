"""Outputs and watchers cancelled at any await leave nothing behind and can go on."""

import asyncio
import gc
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from refresherd.adapters.outputs.sockets import SocketOutput
from refresherd.adapters.state.session_file import SessionFile
from refresherd.domain.model import SocketSpec
from refresherd.engine.ports import Output
from refresherd.host.admission import Admission
from refresherd.host.atomic_file import FileContext
from refresherd.host.keyed_executor import KeyedExecutor
from support.api_place import IDLE_TIMEOUT, eventually, served
from support.fake_app import FakeApp
from support.fakes import settle
from support.file_writer import APP, beside, output, token
from support.other_users import reachable
from support.suspensions import Suspensions

Make = Callable[[Path, KeyedExecutor], Output]


def descriptors() -> list[str]:
    """Return the descriptors that this process has open, without those of earlier tests' garbage.

    A pidfd is closed with the last reference to its process.
    """
    gc.collect()
    entries = [entry for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    return sorted(str(entry.readlink()) for entry in entries)


def a_file(path: Path, executor: KeyedExecutor) -> Output:
    """Return a file output."""
    return output(path, executor=executor)


def a_session(path: Path, executor: KeyedExecutor) -> Output:
    """Return a session file."""
    context = FakeApp().context
    return SessionFile(APP, path, context, FileContext(context.clock, executor))


def a_socket(path: Path, executor: KeyedExecutor) -> Output:
    """Return a socket output."""
    return SocketOutput(
        APP, SocketSpec(path), FakeApp().context, executor, Admission(FakeApp().context.observer)
    )


async def work(made: Output) -> None:
    """Let an output do everything that it can."""
    await made.prepare()
    await made.put(token(1))
    await made.put(token(2))
    await made.remove()
    await made.put(token(3))


async def lived(make: Make, path: Path, cut: int) -> int:
    """Cancel an output's work at that suspension, go on with it, and return how many there were."""
    executor = KeyedExecutor(idle_timeout=IDLE_TIMEOUT)
    made = make(path, executor)
    task: asyncio.Task[None]

    def end() -> None:
        task.cancel()

    suspensions = Suspensions(cut, end)
    task = suspensions.start(work(made))
    await asyncio.wait({task})
    assert task.cancelled() == bool(cut)
    async with asyncio.timeout(20):
        await executor.drained()
        total = suspensions.number
        await work(made)
    assert beside(path) == [], "no temporary file"
    assert path.exists()
    made.close()
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return total


@pytest.mark.parametrize("make", [a_file, a_session, a_socket])
async def test_an_output_cancelled_at_any_await_works_on(make: Make) -> None:
    """A reload may cancel a write: no temporary file, no descriptor and no dead socket is left."""
    with reachable() as directory:
        path = directory / "token"
        total = await lived(make, path, 0)
        assert total > 0
        before = descriptors()
        for number in range(1, total + 1):
            await lived(make, path, number)
        assert descriptors() == before


@pytest.mark.parametrize(
    "request_line", ["GET /v1/apps/payments/token?watch=1", "POST /v1/apps/payments/refresh"]
)
async def test_a_client_may_hang_up_at_any_moment(request_line: str) -> None:
    """Consumers are killed and restarted by the thousand, and the daemon runs for years."""
    async with served() as place:
        await place.get("/v1/apps")
        tasks, open_before = len(asyncio.all_tasks()), len(descriptors())
        for turns in range(30):
            await _hang_up_after(turns, place.path, f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n")
            await place.advance(1)
        await eventually(lambda: len(asyncio.all_tasks()) == tasks)
        await eventually(lambda: len(descriptors()) == open_before)
        assert (await place.get("/v1/apps/payments/token"))[0] == 200


async def _hang_up_after(turns: int, path: Path, sent: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)  # noqa: FBT003  # socket's own signature
        client.connect(str(path))
        await _turn(2)
        client.send(sent.encode())
        await _turn(turns)


async def _turn(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
