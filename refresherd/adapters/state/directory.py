"""The state directory. It outlives a restart, and belongs to one process at a time."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from refresherd.domain.errors import RefresherdError

LOCK = "lock"


def claim(path: Path) -> None:
    """Create the directory if it is missing, and lock it until this process ends, in whatever way.

    Two daemons would both renew one session, and each would end the other's. Raises
    RefresherdError, which names the process that holds the lock, or the obstacle.
    """
    try:
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        # Never closed: a write that hangs may still take effect as long as the process lives.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(path / LOCK, flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(lock)
            raise
    except BlockingIOError:
        raise RefresherdError(
            f"state_dir {path}: it is in use by another refresherd{_holder(path)}; "
            "stop that one, or name another directory"
        ) from None
    except OSError as error:
        raise RefresherdError(f"state_dir {path}: cannot be used: {error.strerror}") from error
    with suppress(OSError):  # it only helps a second process to name the first
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _holder(path: Path) -> str:
    """Return the pid in the lock file, as " (pid 1234)", "" if there is none."""
    with suppress(OSError):
        pid = (path / LOCK).read_bytes()[:20].strip()
        if pid.isdigit():
            return f" (pid {pid.decode()})"
    return ""
