"""What this process asks of the kernel for itself: many descriptors, and that nobody looks in."""

import resource
from contextlib import suppress

DESCRIPTORS = 65536
"""As many open files and sockets are enough for ten thousand apps and their consumers."""

PR_SET_DUMPABLE = 4
"""prctl(2); also in linux/prctl.h."""


def raise_descriptor_limit() -> None:
    """Take what the host allows: sockets of apps and connections of clients need one each.

    The usual soft limit of 1024 is for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_memory_private() -> None:
    """Leave no core dump, and let no other process of the same user read this one's memory.

    Its files in /proc are root's from now on; those of its own it may read all the same, for the
    kernel lets a process look at itself.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if soft:  # else a unit has seen to it, which may forbid the call as well
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    # Where the host allows no memory that is made executable, ctypes may not even be imported.
    with suppress(ImportError, MemoryError, OSError):
        import ctypes  # noqa: PLC0415  # as above

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
