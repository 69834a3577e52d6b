"""Which users and groups have a number here: user_namespaces(7)."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from refresherd.domain.access import OVERFLOW_ID

ALL_IDS = 2**32 - 1
"""How many ids there are: the last number of 32 bits is not an id."""

PROC = Path("/proc")


class Overflow(NamedTuple):
    """The ids that stand for all users and all groups without a number here.

    None where each has one, as outside any namespace: then the id is like any other.
    """

    uid: int | None
    gid: int | None


@cache
def overflow(proc: Path = PROC) -> Overflow:
    """Return the ids that cannot be told from others in this process's user namespace.

    Where /proc does not tell, they are assumed to be ambiguous.
    """
    return Overflow(
        None if maps_all(proc / "self/uid_map") else _setting(proc / "sys/kernel/overflowuid"),
        None if maps_all(proc / "self/gid_map") else _setting(proc / "sys/kernel/overflowgid"),
    )


@cache
def maps_all(table: Path = PROC / "self/uid_map") -> bool | None:
    """Return whether every id has a number in this process's user namespace; None if unknown.

    The table is a process's uid_map or gid_map. Its lines hold the first id inside, the first
    outside and how many, and do not overlap.
    """
    try:
        lines = [line.split() for line in table.read_text(encoding="ascii").splitlines()]
        return sum(int(count) for _, _, count in lines) == ALL_IDS
    except (OSError, ValueError):
        return None


def _setting(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return OVERFLOW_ID
