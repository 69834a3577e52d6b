"""Which directories are kept in memory: what is done there waits for no disk and cannot hang."""

import os
from functools import cache
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

KINDS = frozenset(("tmpfs", "ramfs", "devtmpfs"))


@cache
def in_memory(directory: str, mounts: Path = MOUNTS) -> bool:
    """Return whether a directory is in memory; False where that cannot be told.

    All that its path leads through has to be there as well, or in the root file system:
    where that hangs, so does every program. A directory is looked at once: ten thousand
    outputs may share it.
    """
    try:
        if os.path.realpath(directory) != directory:
            return False
        here, *above = (place.stat().st_dev for place in _places(directory))
        memory = _devices(mounts.read_text(errors="surrogateescape"))
    except OSError:
        return False
    return here in memory and memory.issuperset(device for device in above if device != above[-1])


def _places(directory: str) -> tuple[Path, ...]:
    """Return the directory, and what is above it up to the root."""
    return (Path(directory), *Path(directory).parents)


def _devices(mountinfo: str) -> frozenset[int]:
    """Return the numbers of the file systems in memory, as proc_pid_mountinfo(5) has them."""
    devices = set()
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        if file_system.partition(" ")[0] in KINDS:
            major, _, minor = mount.split(" ")[2].partition(":")
            devices.add(os.makedev(int(major), int(minor)))
    return frozenset(devices)
