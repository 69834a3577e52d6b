"""The systemd unit of a process, by its control group: cgroups(7).

Only root makes slices and the groups in them. Whatever is below the first group that is not a
slice is named by the unit's own user, such as the units of a user's manager in `user@1000.service`.
"""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from refresherd.host.os_errors import NO_DESCRIPTOR

UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:service|scope|socket|mount|swap)")

MEMBERS = "cgroup.procs"
"""The file that lists a group's processes; everybody may read it."""

SLICE = ".slice"

ROOTS = (
    Path("/sys/fs/cgroup"),
    Path("/sys/fs/cgroup/unified"),
    Path("/sys/fs/cgroup/systemd"),
)
"""Where systemd mounts its tree: version 2 alone, beside version 1, version 1 alone."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one search may cost. A unit's user may make any number of groups below the unit's."""

    groups: int = 2000
    """Groups to look into."""
    seconds: float = 0.25
    """Processor time of the thread."""


class SearchTooLong(Exception):
    """A search has reached its bounds before it found the process or had looked everywhere."""


def unit_of(cgroups: str) -> str:
    """Return the system unit in the text of a /proc/PID/cgroup, "" for none.

    It is the first part of the path that is not a slice, as systemd itself reads it.
    """
    fields = (line.split(":", 2) for line in cgroups.splitlines())
    paths = {field[1]: field[2] for field in fields if len(field) == len(("id", "name", "path"))}
    # Version 2 first; where systemd still uses version 1, it names its own hierarchy.
    return next(filter(None, (_unit_in(paths.get(key, "")) for key in ("", "name=systemd"))), "")


def unit_among(
    units: Collection[str],
    pid: int,
    roots: tuple[Path, ...] = ROOTS,
    bounds: Bounds | None = None,
    spent: Callable[[], float] = time.thread_time,
) -> str:
    """Return that of these units which a process belongs to, "" if it is in none of them.

    This needs no /proc, where ProtectProc=invisible hides the processes of others. Raises
    SearchTooLong, and OSError if no descriptor is left. It blocks for some milliseconds.
    """
    search = _Search(bounds or Bounds(), spent)
    wanted = str(pid).encode()
    mounted = (root for root in roots if os.access(root / MEMBERS, os.F_OK))
    found = [unit for root in mounted for unit in search.units(root, frozenset(units))]
    # In turns, so that a unit with very many groups hides no other unit's processes.
    for groups in zip_longest(*(search.groups(unit) for unit in found)):
        for unit, group in zip(found, groups, strict=True):
            if group is not None and wanted in _members(group):
                return _name(unit.name)
    return ""


class _Search:
    def __init__(self, bounds: Bounds, spent: Callable[[], float]) -> None:
        self._groups_left = bounds.groups
        self._spent = spent
        self._limit = spent() + bounds.seconds

    def units(self, root: Path, names: frozenset[str]) -> Iterator[Path]:
        """Yield the groups of units with these names, which are directly in the slices."""
        slices = deque((root,))
        while slices:
            for child in self._children(slices.popleft()):
                name = _name(child.name)
                if name.endswith(SLICE):
                    slices.append(child)
                elif name in names and UNIT.fullmatch(name):
                    yield child

    def groups(self, unit: Path) -> Iterator[Path]:
        """Yield a unit's group and all those below it, the upper ones first."""
        groups = deque((unit,))
        while groups:
            group = groups.popleft()
            yield group
            groups.extend(self._children(group))

    def _children(self, group: Path) -> Iterator[Path]:
        self._groups_left -= 1
        if self._groups_left < 0:
            raise SearchTooLong
        try:
            with os.scandir(group) as entries:
                for entry in entries:
                    if self._spent() > self._limit:
                        raise SearchTooLong
                    if entry.is_dir(follow_symlinks=False):
                        yield group / entry.name
        except OSError as error:  # a unit may end at any time
            if error.errno in NO_DESCRIPTOR:
                raise


def _members(group: Path) -> list[bytes]:
    try:
        return (group / MEMBERS).read_bytes().split()
    except OSError as error:  # it has ended; or it is a group of threads, which lists no processes
        if error.errno in NO_DESCRIPTOR:
            raise
        return []


def _name(directory: str) -> str:
    """Return the name of the unit or slice with this directory.

    systemd prefixes an underscore to a name that could be one of the kernel's own files.
    """
    return directory.removeprefix("_")


def _unit_in(path: str) -> str:
    for name in map(_name, path.split("/")[1:]):
        if not name.endswith(SLICE):
            return name if UNIT.fullmatch(name) else ""
    return ""
