"""A hanging filesystem: what it holds up, and what becomes of abandoned calls."""

# The event loop of these tests has nothing else to do while they look at a file.

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from refresherd.adapters.outputs.files import FileOutput
from refresherd.domain.errors import OutputError
from refresherd.domain.model import FileSpec, Instant
from refresherd.host.atomic_file import FileContext
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import FakeClock
from support.file_writer import APP, beside, held, output, token

BOUND = 30.0
"""The most seconds that a hang in these tests lasts, even if something is broken."""


class HangingClock(FakeClock):
    """A clock whose first reader hangs, as a write would on a dead disk."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.released = threading.Event()

    @property
    def wall(self) -> Callable[[Instant], float]:
        """Hang until released."""
        self.reached.set()
        assert self.released.wait(BOUND)
        return super().wall


@asynccontextmanager
async def hanging(executor: KeyedExecutor, directory: Path) -> AsyncIterator[threading.Event]:
    """Let the calls for a directory hang until the yielded event is set."""
    released = threading.Event()
    task = asyncio.create_task(executor.call(str(directory), partial(released.wait, BOUND)))
    await asyncio.sleep(0)
    try:
        yield released
    finally:
        released.set()
        await task


async def begun(clock: HangingClock) -> None:
    """Return when a write has reached its hanging clock."""
    assert await asyncio.to_thread(clock.reached.wait, BOUND)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path for a token."""
    (tmp_path / "dead").mkdir()
    return tmp_path / "dead" / "payments.token"


async def test_a_hanging_directory_holds_up_only_its_own_outputs(
    path: Path, tmp_path: Path
) -> None:
    """One app's dead disk must not delay other apps' tokens."""
    executor = KeyedExecutor()
    async with hanging(executor, path.parent) as released:
        stuck = asyncio.create_task(output(path, executor=executor).put(token()))
        other = tmp_path / "billing.token"
        async with asyncio.timeout(BOUND / 2):
            await output(other, executor=executor).put(token())
        assert held(other) == 1
        assert not stuck.done()
        released.set()
        await stuck
    assert held(path) == 1


async def test_a_hang_is_an_error_until_it_is_over(path: Path) -> None:
    """The operator has to hear of it, and tokens are written again once the disk answers."""
    executor = KeyedExecutor()
    target = output(path, executor=executor, patience=0.02)
    async with hanging(executor, path.parent):
        for refused in (target.prepare(), target.put(token()), target.remove()):
            with pytest.raises(OutputError) as caught:
                await refused
            assert str(caught.value) == (
                f"{path}: no answer for 0.02 s; its filesystem hangs or is overloaded"
            )
    await executor.drained()
    assert not path.exists(), "what was given up before it began must not be done later"
    await output(path, executor=executor).put(token(2))
    assert held(path) == 2


@pytest.mark.parametrize("later", ["remove", "put"])
async def test_a_cancelled_write_never_overtakes_a_later_call(path: Path, later: str) -> None:
    """Otherwise consumers could get a dead token that had been removed."""
    clock, executor = HangingClock(), KeyedExecutor()
    slow = FileOutput(APP, FileSpec(path), FileContext(clock, executor))
    write = asyncio.create_task(slow.put(token(1)))
    await begun(clock)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    target = output(path, executor=executor)
    call = asyncio.create_task(target.remove() if later == "remove" else target.put(token(2)))
    await asyncio.sleep(0.01)
    assert not call.done()
    clock.released.set()
    await call
    await executor.drained()
    assert [held(path)] == [2] if later == "put" else not path.exists()
    assert beside(path) == []


async def test_a_write_that_is_cancelled_before_it_began_is_never_done(path: Path) -> None:
    """An app that was removed from the configuration writes no more tokens."""
    executor = KeyedExecutor()
    async with hanging(executor, path.parent):
        write = asyncio.create_task(output(path, executor=executor).put(token()))
        await asyncio.sleep(0.01)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
    await executor.drained()
    assert not path.exists()


async def test_a_write_under_way_can_be_awaited_after_its_cancellation(path: Path) -> None:
    """A stop waits for it briefly, so that no temporary file is left."""
    clock, executor = HangingClock(), KeyedExecutor()
    write = asyncio.create_task(
        FileOutput(APP, FileSpec(path), FileContext(clock, executor)).put(token())
    )
    await begun(clock)
    write.cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(executor.drained(), 0.01)
    clock.released.set()
    await asyncio.wait_for(executor.drained(), BOUND)
    assert held(path) == 1
    assert beside(path) == []
