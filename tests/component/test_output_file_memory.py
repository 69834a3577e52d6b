"""Files in memory, which need no thread: which those are, and that it makes no difference."""

import asyncio
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresherd.adapters.outputs.file import FileOutput
from refresherd.domain.errors import OutputError
from refresherd.domain.model import FileSpec, Ownership
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.tmpfs import in_memory
from support.fakes import FakeClock
from support.file_writer import APP, beside, held, output, token
from support.lab import needs

MEMORY = Path("/dev/shm")  # noqa: S108  # the tests make a directory of their own in it


def mounts(place: Path, kinds: dict[Path, str]) -> Path:
    """Write a mountinfo in which the file systems of some directories are of some kinds."""
    table = place / "mountinfo"
    lines = []
    for number, (directory, kind) in enumerate(kinds.items()):
        device = directory.stat().st_dev
        where = f"{os.major(device)}:{os.minor(device)} / {directory} rw,relatime"
        lines.append(f"{number} 1 {where} shared:1 - {kind} {kind} rw,size=4k\n")
    table.write_text("".join(lines))
    return table


@pytest.fixture
def memory() -> Iterator[Path]:
    """Yield a new directory in memory."""
    needs(in_memory(str(MEMORY)), f"a {MEMORY} in memory")
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


@pytest.mark.parametrize(("kind", "verdict"), [("tmpfs", True), ("ext4", False), ("nfs4", False)])
def test_the_kind_of_file_system_tells(tmp_path: Path, kind: str, verdict: object) -> None:
    """On a disk or a network a write may hang for minutes, and must not take the loop along."""
    table = mounts(tmp_path, {tmp_path: kind})
    assert in_memory(str(tmp_path), table) is verdict


def test_a_link_may_lead_through_anything(tmp_path: Path) -> None:
    """A link on a dead network file system hangs, however fast what it points to is."""
    (tmp_path / "fast").mkdir()
    (tmp_path / "link").symlink_to("fast")
    table = mounts(tmp_path, {tmp_path: "tmpfs"})
    assert in_memory(str(tmp_path / "fast"), table)
    assert not in_memory(str(tmp_path / "link"), table)


def test_what_is_above_counts_as_well(memory: Path) -> None:
    """Whoever opens a directory goes through all that are above it."""
    above = next(place for place in memory.parents if place.stat().st_dev != memory.stat().st_dev)
    root = above.stat().st_dev == Path("/").stat().st_dev
    assert in_memory(str(memory), mounts(memory, {memory: "tmpfs", above: "ext4"})) is root


@pytest.mark.parametrize("missing", ["directory", "mountinfo"])
def test_in_doubt_it_is_not_in_memory(tmp_path: Path, missing: str) -> None:
    """A thread is never wrong, only slower."""
    table = mounts(tmp_path, {tmp_path: "tmpfs"})
    by_operator = (
        (tmp_path / missing, table) if missing == "directory" else (tmp_path, Path("/missing"))
    )
    assert not in_memory(str(by_operator[0]), by_operator[1])


async def test_a_file_in_memory_waits_for_no_thread(memory: Path) -> None:
    """The cheapest way to a consumer: thousands of tokens a second."""
    path, executor, released = memory / "payments.token", KeyedExecutor(), threading.Event()
    target = output(path, executor=executor)
    await target.prepare()
    hanging = asyncio.create_task(executor.call(str(memory), lambda: released.wait(30)))
    await asyncio.sleep(0)
    await target.put(token(1))
    assert held(path) == 1
    assert beside(path) == []
    await target.remove()
    assert not path.exists()
    released.set()
    await hanging


async def test_a_failure_in_memory_is_told_like_any_other(memory: Path) -> None:
    """An operator has to hear of it, and of what to do."""
    directory = memory / "run"
    directory.mkdir()
    target = output(directory / "payments.token", executor=KeyedExecutor())
    await target.prepare()
    directory.rmdir()
    with pytest.raises(OutputError, match="create its directory"):
        await target.put(token())


async def test_names_are_looked_up_in_a_thread_wherever_the_file_is(memory: Path) -> None:
    """A directory service that is away hangs, and holds up that output only."""
    path, executor, released = memory / "payments.token", KeyedExecutor(), threading.Event()
    mine = Ownership(owner=str(os.getuid()))
    target = FileOutput(APP, FileSpec(path, ownership=mine), FakeClock(), executor)
    await target.prepare()
    hanging = asyncio.create_task(executor.call(str(memory), lambda: released.wait(30)))
    await asyncio.sleep(0)
    write = asyncio.create_task(target.put(token(1)))
    await asyncio.sleep(0.01)
    assert not path.exists()
    released.set()
    await write
    await hanging
    assert held(path) == 1
