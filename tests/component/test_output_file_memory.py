"""Files on a tmpfs, which are written without a thread."""

import asyncio
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresherd.adapters.outputs.files import FileOutput
from refresherd.domain.errors import OutputError
from refresherd.domain.model import FileSpec, Ownership
from refresherd.host.atomic_file import FileContext
from refresherd.host.directories import in_memory
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import FakeClock
from support.file_writer import APP, beside, held, output, token
from support.lab import needs

MEMORY = Path("/dev/shm")  # noqa: S108  # the tests make a directory of their own in it


def mounts(place: Path, kinds: dict[Path, str]) -> Path:
    """Write a mountinfo that gives some directories filesystems of these types."""
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
    """Yield a new directory on a tmpfs."""
    needs(in_memory(str(MEMORY)), f"a {MEMORY} in memory")
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


@pytest.mark.parametrize(("kind", "verdict"), [("tmpfs", True), ("ext4", False), ("nfs4", False)])
def test_only_memory_filesystems_count_as_memory(
    tmp_path: Path, kind: str, verdict: object
) -> None:
    """On a disk or network a write may hang for minutes, which must not block the event loop."""
    table = mounts(tmp_path, {tmp_path: kind})
    assert in_memory(str(tmp_path), table) is verdict


def test_a_path_with_a_link_is_not_in_memory(tmp_path: Path) -> None:
    """A link on a dead network filesystem hangs, even if its target is in memory."""
    (tmp_path / "fast").mkdir()
    (tmp_path / "link").symlink_to("fast")
    table = mounts(tmp_path, {tmp_path: "tmpfs"})
    assert in_memory(str(tmp_path / "fast"), table)
    assert not in_memory(str(tmp_path / "link"), table)


def test_all_parent_directories_must_be_in_memory(memory: Path) -> None:
    """Opening a directory looks its parents up as well."""
    above = next(place for place in memory.parents if place.stat().st_dev != memory.stat().st_dev)
    root = above.stat().st_dev == Path("/").stat().st_dev
    assert in_memory(str(memory), mounts(memory, {memory: "tmpfs", above: "ext4"})) is root


@pytest.mark.parametrize("missing", ["directory", "mountinfo"])
def test_an_unknown_filesystem_is_not_in_memory(tmp_path: Path, missing: str) -> None:
    """Using a thread is always correct, only slower."""
    table = mounts(tmp_path, {tmp_path: "tmpfs"})
    arguments = (
        (tmp_path / missing, table) if missing == "directory" else (tmp_path, Path("/missing"))
    )
    assert not in_memory(str(arguments[0]), arguments[1])


async def test_a_file_in_memory_is_written_without_a_thread(memory: Path) -> None:
    """It is the cheapest way: thousands of tokens a second."""
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


async def test_a_failed_write_in_memory_is_an_error_with_a_remedy(memory: Path) -> None:
    """The operator has to see what failed and what to do."""
    directory = memory / "run"
    directory.mkdir()
    target = output(directory / "payments.token", executor=KeyedExecutor())
    await target.prepare()
    directory.rmdir()
    with pytest.raises(OutputError, match="create its directory"):
        await target.put(token())


async def test_users_are_looked_up_in_a_thread_even_for_files_in_memory(memory: Path) -> None:
    """A look-up may hang with its directory service, which must only hold up this output."""
    path, executor, released = memory / "payments.token", KeyedExecutor(), threading.Event()
    mine = Ownership(owner=str(os.getuid()))
    target = FileOutput(APP, FileSpec(path, ownership=mine), FileContext(FakeClock(), executor))
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
