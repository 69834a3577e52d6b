"""The state directory. It outlives a restart, and belongs to one process at a time."""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from refresherd.domain.errors import OutputError, RefresherdError
from refresherd.host.path_identity import Directory
from refresherd.host.trust import other_owner, other_writers

LOCK = "lock"


class StateDirectory:
    """The directory at a path, locked until this process ends, in whatever way.

    Two daemons would both renew one session, and each would end the other's. If the directory is
    replaced, the one in its place is locked before anything is written there.
    """

    def __init__(self, path: Path) -> None:
        """Create the directory if it is missing, and lock it.

        Raises RefresherdError, which names the process that holds the lock, or the obstacle.
        """
        self.path = path
        self._locked = self._lock()

    @property
    def inode(self) -> Directory | None:
        """The device and the inode of the locked directory, None if it is gone.

        Asked each time: overlay and network filesystems may number a directory anew.
        """
        try:
            found = os.fstat(self._locked)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def claim(self, directory: int, path: str, _name: str) -> None:
        """Lock the open directory, if it has just come to the path. Raises OutputError."""
        found = os.fstat(directory)
        if (found.st_dev, found.st_ino) != self.inode:
            try:
                self._locked = self._lock()
            except RefresherdError as error:
                raise OutputError(f"{path}: {error}") from error

    def _lock(self) -> int:
        """Return the open directory at the path, locked."""
        path = self.path
        try:
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
            # Neither descriptor is ever closed: a write that hangs may take effect as long as the
            # process lives.
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if fault := _fault(os.fstat(directory)):
                os.close(directory)
                raise RefresherdError(f"state_dir {path}: {fault}")
            _flock(directory, may_fail=True)
            # Network filesystems lock no directories, and earlier versions locked only this file.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(LOCK, flags, 0o600, dir_fd=directory)
            _flock(lock)
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
        return directory


def _fault(found: os.stat_result) -> str:
    """Return why the content of the directory cannot be trusted, "" if it can."""
    if owner := other_owner(found):
        return f"it belongs to {owner}; change its owner, or name a directory in it"
    if writers := other_writers(found):
        # A sticky one is shared, such as /tmp: every other program on the host needs its mode.
        cure = "" if found.st_mode & stat.S_ISVTX else "run chmod 0700, or "
        return f"{writers} may write to it; {cure}name a directory in it"
    return ""


def _flock(descriptor: int, *, may_fail: bool = False) -> None:
    """Lock an open file. Raises OSError, BlockingIOError if another process has locked it.

    With `may_fail`, a file that cannot be locked at all is no error. After an error it is closed.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not may_fail or isinstance(error, BlockingIOError):
            os.close(descriptor)
            raise


def _holder(path: Path) -> str:
    """Return the pid in the lock file, as " (pid 1234)", "" if there is none."""
    with suppress(OSError):
        pid = (path / LOCK).read_bytes()[:20].strip()
        if pid.isdigit():
            return f" (pid {pid.decode()})"
    return ""
