"""The state directory: made where it is missing, and one process's alone."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresherd.adapters.state.directory import LOCK, claim
from refresherd.domain.errors import RefresherdError

OWNER = """
import pathlib, sys, refresherd.adapters.state.directory
refresherd.adapters.state.directory.claim(pathlib.Path(sys.argv[1]))
print("claimed", flush=True)
sys.stdin.read()
"""


@contextmanager
def owner(path: Path) -> Iterator[int]:
    """Run a process that has claimed the directory; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        yield process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)


def test_a_missing_directory_is_made_for_the_daemon_alone(tmp_path: Path) -> None:
    """What is in it is as good as a key."""
    path = tmp_path / "state"
    claim(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (path / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_directory_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    """A service manager has made it, and knows better who may enter."""
    tmp_path.chmod(0o750)
    claim(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_whoever_comes_second_is_told_who_came_first(tmp_path: Path) -> None:
    """And may have it as soon as that one has died, by whatever."""
    with owner(tmp_path) as pid, pytest.raises(RefresherdError) as caught:
        claim(tmp_path)
    assert str(caught.value) == (
        f"state_dir {tmp_path}: it is in use by another refresherd (pid {pid}); stop that one, "
        "or name another directory"
    )
    claim(tmp_path)
    with pytest.raises(RefresherdError, match=f"pid {os.getpid()}"):
        claim(tmp_path)


@pytest.mark.parametrize("content", ["", "what?\n", "9" * 30])
def test_a_lock_that_says_nothing_is_a_lock(tmp_path: Path, content: str) -> None:
    """The pid only helps; it may not have been written yet."""
    claim(tmp_path)
    (tmp_path / LOCK).write_text(content)
    with pytest.raises(RefresherdError, match=r"in use by another refresherd(;| \(pid 9{20}\);)"):
        claim(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file", "Not a directory"), ("gone/state", "No such file or directory")],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, name: str, reason: str) -> None:
    """In a line, before any app is started."""
    (tmp_path / "file").touch()
    with pytest.raises(RefresherdError) as caught:
        claim(tmp_path / name)
    assert str(caught.value) == f"state_dir {tmp_path / name}: cannot be used: {reason}"


def test_no_link_is_followed_to_another_file(tmp_path: Path) -> None:
    """The lock is written to."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / LOCK).symlink_to("precious")
    with pytest.raises(RefresherdError, match="Too many levels of symbolic links"):
        claim(tmp_path)
    assert (tmp_path / "precious").read_text() == "precious"
