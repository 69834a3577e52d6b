"""The state directory: what is in it outlives a restart, and it is one process's alone."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from refresherd.domain.errors import RefresherdError

LOCK = "lock"

OURS_ALONE = 0o700

OPEN_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

LONGEST_PID = 20


def claim(path: Path) -> None:
    """Make the directory if it is missing, and lock it until this process ends, however it ends.

    Two daemons would go on from one session, and each end what the other lives from. Raises
    RefresherdError, which says who has it or what is in the way.
    """
    try:
        with suppress(FileExistsError):
            path.mkdir(mode=OURS_ALONE)
        lock = _locked(path / LOCK)
    except BlockingIOError:
        held = f"it is in use by another refresherd{_holder(path)}"
        raise RefresherdError(
            f"state_dir {path}: {held}; stop that one, or name another directory"
        ) from None
    except OSError as error:
        raise RefresherdError(f"state_dir {path}: cannot be used: {error.strerror}") from error
    with suppress(OSError):  # it only helps whoever comes second
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _locked(path: Path) -> int:
    """Return a locked file's descriptor. Raises OSError, and BlockingIOError if it is locked."""
    # Never closed: a write that hangs may land as long as the process lives.
    lock = os.open(path, OPEN_LOCK, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _holder(path: Path) -> str:
    """Return the pid that stands in a lock that is held, in brackets, "" if none can be read."""
    with suppress(OSError):
        pid = (path / LOCK).read_bytes()[:LONGEST_PID].strip()
        if pid.isdigit():
            return f" (pid {pid.decode()})"
    return ""
