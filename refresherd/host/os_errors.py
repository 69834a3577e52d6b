"""Failed system calls as one line that tells an operator what is wrong and what helps."""

import errno
from collections.abc import Mapping
from pathlib import Path

from refresherd.domain.errors import OutputError, RefresherdError

NO_THREAD = (
    "this process may have no more threads; raise the limit (in a unit: TasksMax=, elsewhere: "
    "ulimit -u)"
)

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
"""The process, or the host, may open no more files: whether one is there is unknown."""

FILE_REMEDIES: Mapping[int, str] = {
    errno.EACCES: "let the daemon's user write to its directory",
    errno.EBUSY: "it is a mount point: mount its directory instead",
    errno.EDQUOT: "free some of the quota, or raise it",
    errno.EEXIST: "it is not a regular file: remove it, or name another path",
    errno.EIO: "check the kernel log for disk errors",
    errno.EISDIR: "remove the directory in its place",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE=)",
    errno.ENOENT: "create its directory, or have systemd do so (RuntimeDirectory=)",
    errno.ENOSPC: "free space, or inodes, on its filesystem",
    errno.ENOTDIR: "its parent is not a directory",
    errno.EPERM: "let the daemon's user do that; to change owners in a unit, install the drop-in "
    "hand-over.conf as its comments say",
    errno.EROFS: "mount its filesystem writable (in a unit: ReadWritePaths=)",
}

READ_REMEDIES: Mapping[int, str] = {
    errno.EACCES: "let the daemon's user read it",
    errno.EISDIR: "put the file in the directory's place",
    errno.ENOENT: "create it, and it is read at once",
    errno.ENOTDIR: "its parent is not a directory",
}

SOCKET_REASONS: Mapping[int, str] = {
    errno.EACCES: "Permission denied; let the daemon's user do that",
    errno.EADDRINUSE: "something else has just been put there; move it away, or name another path",
    errno.EMFILE: "Too many open files; raise the limit on open files (in a unit: LimitNOFILE=)",
    errno.ENOENT: "there is no directory {parent}; create it, have systemd do so "
    "(RuntimeDirectory=), or write another path",
    errno.EPERM: "Operation not permitted; let the daemon's user do that; to change owners in a "
    "unit, install the drop-in hand-over.conf as its comments say",
    errno.EROFS: "its filesystem is read-only; mount it writable (in a unit: ReadWritePaths=)",
}


def failure(path: str, doing: str, error: OSError) -> OutputError:
    """Return the error to raise where `doing` something with the file at `path` failed."""
    return OutputError(f"{path}: cannot {doing}: {with_cure(error, FILE_REMEDIES)}")


def with_cure(error: OSError, remedies: Mapping[int, str] = READ_REMEDIES) -> str:
    """Return why a file cannot be read, or by other `remedies` used, and what helps."""
    reason, remedy = error.strerror or str(error), remedies.get(error.errno or 0)
    return f"{reason}; {remedy}" if remedy else reason


def cannot_listen(path: Path, cause: OSError | str) -> RefresherdError:
    """Return the error to raise where nobody can listen at `path`."""
    if isinstance(cause, OSError):
        reason = SOCKET_REASONS.get(cause.errno or 0, cause.strerror or str(cause))
        cause = reason.format(parent=path.parent)
    return RefresherdError(f"cannot listen on {path}: {cause}")
