"""Where a process is in the tree of control groups, for services that may not see it in /proc.

A unit with ProtectProc=invisible sees only its own processes there. The control groups tell of
their members all the same: cgroup.procs of cgroups(7) is open to everyone.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"))
"""Where systemd mounts its tree: version 2 alone, beside version 1, version 1 alone."""

MEMBERS = "cgroup.procs"


def unit_path(pid: int, mounts: tuple[Path, ...] = MOUNTS) -> str:
    """Return the path of the unit that a process belongs to, "" if none is found.

    It takes some milliseconds on a host with hundreds of units.
    """
    wanted = str(pid).encode()
    for mount in mounts:
        if _there(mount / MEMBERS):
            found = (unit for unit in _units(mount) if _holds(unit, wanted))
            return next((f"/{unit.relative_to(mount)}" for unit in found), "")
    return ""


def _there(path: Path) -> bool:
    with suppress(OSError):  # Python 3.11 raises where nothing may be seen below /sys
        return path.exists()
    return False


def _units(directory: Path) -> Iterator[Path]:
    """Yield the groups of units: what lies in slices and is none itself."""
    for group in _below(directory):
        if group.name.endswith(".slice"):
            yield from _units(group)
        else:
            yield group


def _below(directory: Path) -> list[Path]:
    with suppress(OSError), os.scandir(directory) as entries:  # a unit may end at any time
        return [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _holds(unit: Path, pid: bytes) -> bool:
    """Return whether a process is in a unit's group, or in one that the unit has made below."""
    return any(pid in _members(Path(directory)) for directory, _, _ in os.walk(unit))


def _members(group: Path) -> list[bytes]:
    with suppress(OSError):  # as above; and threads may have groups that list no processes
        return (group / MEMBERS).read_bytes().split()
    return []
