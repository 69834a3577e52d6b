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

from refresherd.adapters.state.directory import LOCK, StateDirectory
from refresherd.domain.errors import OutputError, RefresherdError
from support.lab import needs_root

OWNER = """
import pathlib, sys, refresherd.adapters.state.directory
refresherd.adapters.state.directory.StateDirectory(pathlib.Path(sys.argv[1]))
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
    StateDirectory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (path / LOCK).read_text() == f"{os.getpid()}\n"


def test_an_existing_directory_is_left_as_it_is(tmp_path: Path) -> None:
    """A service manager has created it, and knows better who may read it."""
    tmp_path.chmod(0o750)
    StateDirectory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_a_second_process_is_refused_and_told_the_first_ones_pid(tmp_path: Path) -> None:
    """It may have the directory as soon as the first one has died, however it died."""
    with owner(tmp_path) as pid, pytest.raises(RefresherdError) as caught:
        StateDirectory(tmp_path)
    assert str(caught.value) == (
        f"state_dir {tmp_path}: it is in use by another refresherd (pid {pid}); stop that one, "
        "or name another directory"
    )
    StateDirectory(tmp_path)
    with pytest.raises(RefresherdError, match=f"pid {os.getpid()}"):
        StateDirectory(tmp_path)


@pytest.mark.parametrize("content", ["", "what?\n", "9" * 30])
def test_a_lock_without_a_pid_is_a_lock(tmp_path: Path, content: str) -> None:
    """The pid only helps; it may not have been written yet."""
    StateDirectory(tmp_path)
    (tmp_path / LOCK).write_text(content)
    with pytest.raises(RefresherdError, match=r"in use by another refresherd(;| \(pid 9{20}\);)"):
        StateDirectory(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file", "Not a directory"), ("gone/state", "No such file or directory")],
)
def test_an_unusable_directory_is_reported(tmp_path: Path, name: str, reason: str) -> None:
    """In one line, before any app is started."""
    (tmp_path / "file").touch()
    with pytest.raises(RefresherdError) as caught:
        StateDirectory(tmp_path / name)
    assert str(caught.value) == f"state_dir {tmp_path / name}: cannot be used: {reason}"


def test_no_link_is_followed_to_another_file(tmp_path: Path) -> None:
    """The lock is written to."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / LOCK).symlink_to("precious")
    with pytest.raises(RefresherdError, match="Too many levels of symbolic links"):
        StateDirectory(tmp_path)
    assert (tmp_path / "precious").read_text() == "precious"


def test_the_lock_outlives_its_file(tmp_path: Path) -> None:
    """Somebody may remove or replace it, and a second daemon must not start then."""
    with owner(tmp_path) as pid:
        (tmp_path / LOCK).unlink()
        with pytest.raises(RefresherdError, match="in use by another refresherd;"):
            StateDirectory(tmp_path)
        (tmp_path / LOCK).write_text(f"{pid}\n")
        with pytest.raises(RefresherdError, match=f"in use by another refresherd .pid {pid}."):
            StateDirectory(tmp_path)


def claim(state: StateDirectory) -> None:
    """Claim a file there, as a session file does before it is written."""
    directory = os.open(state.path, os.O_RDONLY)
    try:
        state.claim(directory, str(state.path / "a.session"), "a.session")
    finally:
        os.close(directory)


def test_a_directory_that_takes_its_place_is_locked_too(tmp_path: Path) -> None:
    """A backup was restored, say. The daemon goes on there, unless another one is there already."""
    path = tmp_path / "state"
    state = StateDirectory(path)
    claim(state)
    path.rename(tmp_path / "old")
    path.mkdir(0o700)
    claim(state)
    with pytest.raises(RefresherdError, match=f"pid {os.getpid()}"):
        StateDirectory(path)
    path.rename(tmp_path / "older")
    path.mkdir(0o700)
    with owner(path), pytest.raises(OutputError, match="in use by another refresherd"):
        claim(state)
    claim(state)


@pytest.mark.parametrize(
    ("mode", "cure"),
    [(0o777, "run chmod 0700, or "), (0o1777, ""), (0o702, "run chmod 0700, or ")],
)
def test_a_directory_that_every_user_may_write_to_is_refused(
    tmp_path: Path, mode: int, cure: str
) -> None:
    """A session that somebody else puts there would be handed out as the app's own.

    The mode of a shared directory such as /tmp must stay, or every other program there fails.
    """
    tmp_path.chmod(mode)
    with pytest.raises(RefresherdError) as raised:
        StateDirectory(tmp_path)
    assert str(raised.value) == (
        f"state_dir {tmp_path}: every user (mode {mode:04o}) may write to it; {cure}"
        "name a directory in it"
    )


def test_a_directory_of_the_users_own_group_is_accepted(tmp_path: Path) -> None:
    """With umask 002, as many hosts have it, every directory is writable for its group."""
    tmp_path.chmod(0o775)
    StateDirectory(tmp_path)


def test_a_directory_of_another_user_or_group_is_refused(tmp_path: Path) -> None:
    """They could replace what is in it at any time."""
    needs_root()
    os.chown(tmp_path, 1, -1)
    with pytest.raises(RefresherdError, match=r"it belongs to user \w+ \(uid 1\)"):
        StateDirectory(tmp_path)
    os.chown(tmp_path, 0, 1)
    tmp_path.chmod(0o770)
    with pytest.raises(RefresherdError, match=r"the group \w+ \(mode 0770\) may write to it"):
        StateDirectory(tmp_path)
    tmp_path.chmod(0o750)
    StateDirectory(tmp_path)
