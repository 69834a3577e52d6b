"""A failed call of the kernel's as one line that tells an operator what to do."""

import errno
import os
from collections.abc import Mapping
from types import MappingProxyType

from refresherd.domain.errors import OutputError

REMEDIES: Mapping[int, str] = MappingProxyType(
    {
        errno.EACCES: "let the daemon's user write to its directory",
        errno.EBUSY: "it is a mount point: mount its directory instead",
        errno.EDQUOT: "free some of the quota, or raise it",
        errno.EIO: "look for the disk's trouble in the kernel log",
        errno.EISDIR: "remove the directory in its place",
        errno.EMFILE: "raise the limit of open files (LimitNOFILE=)",
        errno.ENOENT: "create its directory, or have systemd do so (RuntimeDirectory=)",
        errno.ENOSPC: "free space, or inodes, on its filesystem",
        errno.ENOTDIR: "what should be its directory is none",
        errno.EPERM: "let the daemon's user do that; "
        "owners and groups take hand-over.conf in a unit",
        errno.EROFS: "mount its filesystem writable (in a unit: ReadWritePaths=)",
    }
)


def failure(path: str, doing: str, error: OSError) -> OutputError:
    """Return the error to raise where `doing` something for the output at `path` failed."""
    number = error.errno or 0
    reason = os.strerror(number) if number else str(error)
    remedy = REMEDIES.get(number)
    return OutputError(f"{path}: cannot {doing}: {reason}" + (f"; {remedy}" if remedy else ""))
