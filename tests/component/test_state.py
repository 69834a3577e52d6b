"""The state directory: created if it is missing, and used by one process alone."""

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


def test_a_missing_directory_is_created_for_the_daemon_alone(tmp_path: Path) -> None:
    """Its content is as good as a key."""
    path = tmp_path / "state"
    claim(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (path / LOCK).read_text() == f"{os.getpid()}\n"


def test_an_existing_directory_is_left_as_it_is(tmp_path: Path) -> None:
    """A service manager has created it, and knows better who may enter."""
    tmp_path.chmod(0o750)
    claim(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_a_second_process_is_refused_and_told_the_first_ones_pid(tmp_path: Path) -> None:
    """It may have the directory as soon as the first one has died, however it died."""
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
def test_a_lock_without_a_pid_is_a_lock(tmp_path: Path, content: str) -> None:
    """The pid only helps; it may not have been written yet."""
    claim(tmp_path)
    (tmp_path / LOCK).write_text(content)
    with pytest.raises(RefresherdError, match=r"in use by another refresherd(;| \(pid 9{20}\);)"):
        claim(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file", "Not a directory"), ("gone/state", "No such file or directory")],
)
def test_an_unusable_directory_is_reported(tmp_path: Path, name: str, reason: str) -> None:
    """In one line, before any app is started."""
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
