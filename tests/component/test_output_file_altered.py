"""A file output that somebody else alters: noticed, named, restored, and removed when dropped."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from refresherd.adapters.outputs.files import FileOutput
from refresherd.domain.model import Ownership
from support.file_writer import held, output, token
from support.lab import needs_root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path for a token, in an empty directory."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "payments.token"


def seen(target: FileOutput) -> str:
    """Look at an output, and return what somebody did to it."""
    found = target.look()
    return "" if found is None else target.confirm(found)


def replaced(path: Path) -> None:
    """Put another file in the path's place, as another daemon does."""
    other = path.with_name("other")
    other.write_text("theirs")
    other.rename(path)


def linked(path: Path) -> None:
    """Put a link in the path's place."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def piped(path: Path) -> None:
    """Put a named pipe in the path's place."""
    path.unlink()
    os.mkfifo(path)


def exchanged(path: Path) -> None:
    """Put another directory in the place of the path's."""
    path.parent.rename(path.parent.with_name("old"))
    path.parent.mkdir()
    path.write_text(path.parent.with_name("old").joinpath(path.name).read_text()[:-1])


ALTERATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (Path.unlink, "somebody removed it"),
    "replaced": (replaced, f"somebody (uid {os.getuid()}) put another file in its place"),
    "overwritten": (lambda path: path.write_text("theirs"), "somebody overwrote it"),
    "truncated": (lambda path: os.truncate(path, 0), "somebody emptied it"),
    "mode": (lambda path: path.chmod(0o644), "somebody changed its mode from 0600 to 0644"),
    "link": (
        linked,
        "somebody put a symbolic link in its place",
    ),
    "pipe": (piped, "somebody put a named pipe in its place"),
    "directory": (exchanged, f"somebody (uid {os.getuid()}) put another file"),
}


@pytest.mark.parametrize("kind", ALTERATIONS)
async def test_an_alteration_is_named_once_and_made_good(path: Path, kind: str) -> None:
    """The operator has to find out who does that; consumers need the token meanwhile."""
    alter, message = ALTERATIONS[kind]
    target = output(path)
    await target.put(token(1))
    assert seen(target) == ""
    alter(path)
    assert seen(target).startswith(message)
    assert seen(target) == "", "reported once"
    assert not (await target.put(token(1))).unchanged
    assert held(path) == 1
    assert path.stat().st_mode & 0o7777 == 0o600
    assert seen(target) == ""


async def test_a_changed_owner_is_made_good(path: Path) -> None:
    """The new owner could hand the token on, or write another."""
    needs_root()
    target = output(path)
    await target.put(token(1))
    os.chown(path, 65534, 65534)
    assert seen(target) == "somebody changed its owner from 0:0 to 65534:65534"
    await target.put(token(1))
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 0)


async def test_a_missing_directory_is_named(path: Path) -> None:
    """It is not the file alone that somebody has to bring back."""
    target = output(path)
    await target.put(token(1))
    shutil.rmtree(path.parent)
    assert seen(target) == "its directory is gone"


@pytest.mark.parametrize("innocent", ["touch", "hardlink", "rewritten"])
async def test_the_same_bytes_with_the_same_rights_are_no_alteration(
    path: Path, innocent: str
) -> None:
    """Backups link files, and some programs restore them: consumers get what they should."""
    target = output(path)
    await target.put(token(1))
    if innocent == "touch":
        os.utime(path)
    elif innocent == "hardlink":
        os.link(path, path.with_name("backup"))
    else:
        other = path.with_name("other")
        shutil.copy2(path, other)
        other.rename(path)
    assert seen(target) == ""
    assert target.look() is None, "what is there now is known"


async def test_an_alteration_that_a_write_made_good_is_named(path: Path) -> None:
    """A refresh may come before anybody has looked."""
    target = output(path)
    assert (await target.put(token(1))).altered == ""
    path.write_text("theirs")
    assert (await target.put(token(2))).altered == "somebody overwrote it"
    path.chmod(0o644)
    assert (await target.put(token(2))).altered == "somebody changed its mode from 0600 to 0644"
    assert (await target.put(token(3))).altered == ""
    assert seen(target) == ""


async def test_a_write_under_a_look_is_no_alteration(path: Path) -> None:
    """A look takes place in a thread, and the daemon writes meanwhile."""
    target = output(path)
    await target.put(token(1))
    path.unlink()
    found = target.look()
    assert found is not None
    await target.put(token(2))
    assert target.confirm(found) == ""


async def test_a_file_that_comes_back_after_its_removal_is_noticed(path: Path) -> None:
    """It may hold a token that DSM has ended."""
    target = output(path)
    assert seen(target) == "", "nothing was left there so far"
    await target.put(token(1))
    await target.remove()
    assert seen(target) == ""
    path.write_text("old")
    assert seen(target) == "somebody put a file there again"


@pytest.mark.parametrize("mode", [0o600, 0o640])
async def test_unchanged_content_is_not_replaced(path: Path, mode: int) -> None:
    """Consumers that watch the file would reload for nothing; a restart counts as well."""
    ownership = Ownership(mode=mode)
    await output(path, ownership).put(token(1))
    before = path.stat()
    later = output(path, ownership)
    for _ in range(2):
        assert (await later.put(token(1))).unchanged
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert seen(later) == ""
    assert not (await later.put(token(2))).unchanged
    assert held(path) == 2


async def test_unchanged_content_with_other_rights_is_replaced(path: Path) -> None:
    """A new mode in the configuration takes effect at once."""
    await output(path, Ownership(mode=0o644)).put(token(1))
    assert not (await output(path).put(token(1))).unchanged
    assert path.stat().st_mode & 0o7777 == 0o600


async def test_a_directory_that_passes_its_group_on_needs_no_new_file(path: Path) -> None:
    """With the set-group-ID bit a new file has the directory's group, not the daemon's."""
    needs_root()
    os.chown(path.parent, 0, 65534)
    path.parent.chmod(0o2755)
    await output(path).put(token(1))
    assert path.stat().st_gid == 65534
    assert (await output(path).put(token(1))).unchanged


async def test_a_discarded_file_is_gone(path: Path) -> None:
    """No live token stays behind where the configuration names no file any more."""
    for known in (True, False):
        await output(path).put(token(1))
        target = output(path)
        if known:
            await target.put(token(1))
        assert await target.discard() == ""
        assert not path.exists()
    shutil.rmtree(path.parent)
    assert await output(path).discard() == "", "not even its directory is there"


async def test_a_file_of_others_is_not_discarded(path: Path) -> None:
    """The path was handed over to another program before the reload."""
    target = output(path)
    await target.put(token(1))
    replaced(path)
    assert await target.discard() == f"{path}: not removed, since somebody has replaced it"
    assert path.read_text() == "theirs"
