"""The failed logins in a real file: what the next run finds, and what the file must not reveal."""

import asyncio
import base64
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from refresherd.adapters.state.login_file import LoginFile, UnsavedLogins
from refresherd.domain.errors import OutputError
from refresherd.domain.events import Warned
from refresherd.domain.login_budget import History
from refresherd.domain.model import Instant, Secret
from refresherd.engine.context import Context
from refresherd.host.atomic_file import FileContext
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import API_KEY, FakeClock, FakeSchedule, RecordingObserver
from support.lab import needs, needs_root

KEY = Secret(API_KEY)
HISTORY = History(refused=(Instant(900.0), Instant(990.0)), interrupted=(Instant(995.0),))


class Runs:
    """Runs, one after the other, on the same file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "logins"
        self.observer = RecordingObserver()
        self.clock = FakeClock()
        self.context = Context(self.clock, FakeSchedule(self.clock), self.observer, lambda: 0.0)

    def next(self, boot_id: str = "one", patience: float = 10.0) -> LoginFile:
        """Return the file as the next run sees it."""
        files = FileContext(self.clock, KeyedExecutor(), patience=patience)
        return LoginFile(self.path, boot_id, self.context, files)

    async def first(self) -> LoginFile:
        """Return the file of a run in which logins have failed."""
        store = self.next()
        assert await store.load() == {}
        await store.save({store.fingerprint(KEY): HISTORY})
        return store

    @property
    def warnings(self) -> list[str]:
        """The warnings for operators."""
        return [warned.message for warned in self.observer.of(Warned)]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Return runs, before the first one."""
    return Runs(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 16 KiB."""
    needs_root()
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=16k", "tmpfs"]
    mounted = subprocess.run(["mount", *options, str(place)], check=False)  # noqa: S607  # PATH's
    needs(mounted.returncode == 0, "the right to mount (CAP_SYS_ADMIN)")
    yield place
    subprocess.run(["umount", str(place)], check=True)  # noqa: S607  # PATH's


async def found(store: LoginFile) -> Mapping[str, History]:
    """Return what a run has loaded, which must not be lost."""
    histories = await store.load()
    assert histories is not None
    return histories


async def test_the_next_run_finds_what_failed(runs: Runs) -> None:
    """By the same fingerprint, which the file's own key makes."""
    await runs.first()
    store = runs.next()
    assert await found(store) == {store.fingerprint(KEY): HISTORY}
    assert runs.warnings == []


async def test_a_reboot_is_bridged_by_the_wall_clock(runs: Runs) -> None:
    """Boot time starts over, and the failures are as old as the wall clock says."""
    await runs.first()
    runs.clock.set(10.0)
    runs.clock.offset += 1050.0
    store = runs.next("two")
    (history,) = (await found(store)).values()
    assert history == History((Instant(-150.0), Instant(-60.0)), (Instant(-55.0),))


async def test_it_reveals_no_key(runs: Runs) -> None:
    """Neither the key nor what could be looked up in a list: its hash, or the app's id."""
    await runs.first()
    content = runs.path.read_text()
    app_id, secret = base64.b64decode(API_KEY).decode().split(":")
    for text in (API_KEY, app_id, secret):
        assert text not in content
        for digest in ("md5", "sha1", "sha256", "sha512"):
            hashed = hashlib.new(digest, text.encode())
            assert hashed.hexdigest() not in content
            assert base64.b64encode(hashed.digest()).decode() not in content


async def test_two_hosts_know_a_key_by_different_names(tmp_path: Path) -> None:
    """A stolen file says nothing about another host."""
    names = set()
    for host in ("one", "two"):
        (tmp_path / host).mkdir()
        names.add((await Runs(tmp_path / host).first()).fingerprint(KEY))
    assert len(names) == 2
    unsaved = UnsavedLogins()
    assert unsaved.fingerprint(KEY) == unsaved.fingerprint(Secret(API_KEY)) not in names
    await unsaved.save({unsaved.fingerprint(KEY): HISTORY})
    assert await unsaved.load() == {}


async def test_only_the_daemons_user_may_read_it(runs: Runs) -> None:
    """No umask opens it, and no temporary file is left."""
    umask = os.umask(0)
    try:
        await runs.first()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(runs.path.stat().st_mode) == 0o600
    assert list(runs.path.parent.iterdir()) == [runs.path]


async def test_temporary_files_of_killed_runs_are_removed(runs: Runs) -> None:
    """A run that is killed in a write leaves the old file, and a temporary one beside it."""
    await runs.first()
    left = runs.path.with_name(".logins.0123456789abcdef.tmp")
    left.write_text("half a fi")
    store = runs.next()
    assert await found(store) == {store.fingerprint(KEY): HISTORY}
    assert not left.exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 4096, b"{}", b"PNG", b"[" * 99_999])
async def test_a_garbled_file_is_reported_once_and_replaced(runs: Runs, content: bytes) -> None:
    """It counts as lost: the limiter is then more careful than without a file."""
    runs.path.write_bytes(content)
    store = runs.next()
    assert await store.load() is None
    (warning,) = runs.warnings
    assert warning.startswith(
        f"{runs.path} is not used and will be replaced with the next login: it "
    )
    await store.save({store.fingerprint(KEY): HISTORY})
    store = runs.next()
    assert await found(store) == {store.fingerprint(KEY): HISTORY}


async def test_a_pipe_in_its_place_counts_as_garbled(runs: Runs) -> None:
    """It would block until somebody writes to it."""
    os.mkfifo(runs.path)
    store = runs.next()
    assert await store.load() is None
    await store.save({})
    assert runs.path.is_file()


async def test_a_directory_in_its_place_is_reported(runs: Runs) -> None:
    """With what to do about it; logins go on without the file."""
    runs.path.mkdir()
    store = runs.next()
    assert await store.load() is None
    with pytest.raises(OutputError, match="remove the directory in its place"):
        await store.save({})


async def test_a_full_disk_leaves_the_old_file(disk: Path) -> None:
    """Half a file would be as bad as none."""
    runs = Runs(disk)
    store = await runs.first()
    (disk / "filler").write_bytes(b"x" * 8192)
    long = History(tuple(Instant(float(at)) for at in range(1000)))
    with pytest.raises(OutputError, match="free space"):
        await store.save({store.fingerprint(KEY): long})
    store = runs.next()
    assert await found(store) == {store.fingerprint(KEY): HISTORY}


async def test_a_filesystem_that_hangs_is_given_up_soon(runs: Runs) -> None:
    """Every first login waits for it."""
    executor, release = KeyedExecutor(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    stuck = asyncio.create_task(executor.call(str(runs.path.parent), hang))
    await asyncio.sleep(0)
    store = LoginFile(
        runs.path, "one", runs.context, FileContext(runs.clock, executor, patience=0.01)
    )
    assert await store.load() is None
    (warning,) = runs.warnings
    assert warning.startswith("cannot read the failed logins of earlier runs: ")
    with pytest.raises(OutputError, match="hangs"):
        await store.save({})
    release.set()
    await stuck
