"""The generations in a real file: what the next run finds, and what happens if it fails."""

import asyncio
import stat
from pathlib import Path
from threading import Event

import pytest

from refresherd.adapters.state.generation_file import MIN_APPENDED, RETRY_DELAY, GenerationFile
from refresherd.domain.errors import OutputError
from refresherd.domain.events import Warned
from refresherd.host.atomic_file import FileContext
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import FakeClock, RecordingObserver


class Runs:
    """Runs, one after the other, on the same file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "generations"
        self.observer = RecordingObserver()
        self.clock = FakeClock()

    def next(self) -> GenerationFile:
        """Return the file as the next run sees it."""
        return GenerationFile(self.path, self.observer, FileContext(self.clock, KeyedExecutor()))

    @property
    def warnings(self) -> list[str]:
        """The warnings for operators."""
        return [warned.message for warned in self.observer.of(Warned)]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Return runs, before the first one."""
    return Runs(tmp_path)


async def test_the_next_run_finds_what_was_saved(runs: Runs) -> None:
    """Only the daemon's user may read it; a token costs the append of one line."""
    store = runs.next()
    assert await store.load() == {}
    await store.save({"payments": 1}, {"payments": 1, "other": 4})
    inode = runs.path.stat().st_ino
    await store.save({"payments": 2}, {"payments": 2, "other": 4})
    assert runs.path.read_text() == "payments 1\nother 4\npayments 2\n"
    assert runs.path.stat().st_ino == inode
    assert stat.S_IMODE(runs.path.stat().st_mode) == 0o600
    assert await runs.next().load() == {"payments": 2, "other": 4}
    assert runs.warnings == []


async def test_the_file_does_not_grow_without_end(runs: Runs) -> None:
    """Tokens come for years."""
    store = runs.next()
    for number in range(1, 2 * MIN_APPENDED):
        await store.save({"payments": number}, {"payments": number})
        assert len(runs.path.read_text().splitlines()) <= MIN_APPENDED + 1
    assert await runs.next().load() == {"payments": 2 * MIN_APPENDED - 1}


async def test_a_file_that_somebody_removed_is_written_again(runs: Runs) -> None:
    """The numbers are still in memory."""
    store = runs.next()
    await store.save({"payments": 1}, {"payments": 1, "other": 4})
    runs.path.unlink()
    await store.save({"payments": 2}, {"payments": 2, "other": 4})
    assert await runs.next().load() == {"payments": 2, "other": 4}
    assert runs.warnings == []


async def test_a_link_in_its_place_is_not_written_through(runs: Runs, tmp_path: Path) -> None:
    """Whoever could plant one would have the daemon write to any file."""
    store, other = runs.next(), tmp_path / "other"
    await store.save({"payments": 1}, {"payments": 1})
    other.write_text("precious")
    runs.path.unlink()
    runs.path.symlink_to(other)
    await store.save({"payments": 2}, {"payments": 2})
    assert (other.read_text(), runs.path.is_symlink()) == ("precious", False)


async def test_a_failing_disk_is_warned_of_once_and_tried_again(runs: Runs, tmp_path: Path) -> None:
    """Attempts go on meanwhile, and do not wait for it each time."""
    runs.path = tmp_path / "gone" / "generations"
    store = runs.next()
    assert await store.load() == {}
    for number in (1, 2):
        await store.save({"payments": number}, {"payments": number})
    (warning,) = runs.warnings
    assert warning.startswith("cannot save the generations of tokens; they are counted in memory")
    runs.path.parent.mkdir()
    await store.save({"payments": 3}, {"payments": 3})
    assert not runs.path.exists()
    runs.clock.advance(RETRY_DELAY)
    await store.save({"payments": 4}, {"payments": 4, "other": 9})
    assert await runs.next().load() == {"payments": 4, "other": 9}


async def test_a_file_that_cannot_be_read_is_warned_of(runs: Runs) -> None:
    """A loop of links in its place, for instance."""
    runs.path.symlink_to(runs.path)
    assert await runs.next().load() == {}
    (warning,) = runs.warnings
    assert warning.startswith("cannot read the generations of earlier tokens: ")


async def test_generations_that_were_read_too_late_are_not_overwritten(runs: Runs) -> None:
    """A disk that hung at the start must not make the start after it count from 1."""
    runs.path.write_text("payments 7\nother 5\n")
    executor = KeyedExecutor()
    disk = Event()
    hung = asyncio.create_task(executor.call(str(runs.path.parent), disk.wait))
    await asyncio.sleep(0)
    store = GenerationFile(
        runs.path, runs.observer, FileContext(runs.clock, executor, patience=0.2)
    )
    assert await store.load() == {}
    disk.set()
    await hung
    for number in (1, 2):
        await store.save({"payments": number}, {"payments": number})
    assert await runs.next().load() == {"payments": 7, "other": 5}


async def test_nothing_is_appended_in_the_state_of_another_daemon(runs: Runs) -> None:
    """The directory may have been replaced by one that another daemon has locked."""
    locked = False

    def claim(_directory: int, path: str, _name: str) -> None:
        if locked:
            raise OutputError(f"{path}: it is in use by another refresherd")

    files = FileContext(runs.clock, KeyedExecutor(), claim=claim)
    store = GenerationFile(runs.path, runs.observer, files)
    await store.save({"payments": 1}, {"payments": 1})
    await store.save({"payments": 2}, {"payments": 2})
    locked = True
    await store.save({"payments": 3}, {"payments": 3})
    assert runs.path.read_text() == "payments 1\npayments 2\n"
    (warning,) = runs.warnings
    assert "in use by another refresherd" in warning
