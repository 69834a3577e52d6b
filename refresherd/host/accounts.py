"""Names of users and groups as the kernel's numbers, looked up each time they are needed."""

import grp
import os
import pwd
import re
from collections.abc import Callable
from pathlib import Path

from refresherd.domain.access import Permitted
from refresherd.domain.model import Access, Ownership

LARGEST_ID = 2**32 - 2
"""Ids have 32 bits, and the last number is UNCHANGED: chown(2)."""

UNCHANGED = -1
"""What chown(2) takes for "leave it as it is"."""

CAP_CHOWN = 1 << 0
"""The first bit of a set of capabilities: capabilities(7)."""


class NoSuchAccount(LookupError):
    """This host has no such user or group; the text names it and the remedy."""


def user_id(name: str) -> int | None:
    """Return the uid of a user's name or number, None if there is no such user. It may block."""
    return _id(name, lambda: pwd.getpwnam(name).pw_uid)


def group_id(name: str) -> int | None:
    """Return the gid of a group's name or number, None if there is no such group. It may block."""
    return _id(name, lambda: grp.getgrnam(name).gr_gid)


def owner_ids(ownership: Ownership) -> tuple[int, int]:
    """Return uid and gid for chown(2), UNCHANGED for "". Raises NoSuchAccount. It may block."""
    return (
        _required("user", ownership.owner, user_id),
        _required("group", ownership.group, group_id),
    )


def may_give_away() -> bool:
    """Return whether this process may give files to any user and group, as root usually may.

    That takes CAP_CHOWN: capabilities(7). Without /proc, nobody knows, and it is True.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return effective is None or bool(int(effective[1], 16) & CAP_CHOWN)


def belongs(found: os.stat_result, uid: int, gid: int) -> bool:
    """Return whether a file has this owner and group; UNCHANGED matches any.

    A hardened unit may forbid even a chown(2) that changes nothing.
    """
    return uid in (UNCHANGED, found.st_uid) and gid in (UNCHANGED, found.st_gid)


def resolve(access: Access) -> Permitted:
    """Return whom `access` names; a name that this host lacks permits nobody.

    Raises OSError if no descriptor is left: then no name would be found. It may block.
    """
    uids = frozenset(map(user_id, access.users))
    gids = frozenset(map(group_id, access.groups))
    if None in uids | gids:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
    return Permitted(
        uids=frozenset(uid for uid in uids if uid is not None),
        gids=frozenset(gid for gid in gids if gid is not None),
        units=frozenset(access.units),
    )


def without_names(access: Access) -> Access:
    """Return what `access` says in numbers, and its units: that takes no look-up."""
    return Access(
        users=tuple(filter(_is_number, access.users)),
        groups=tuple(filter(_is_number, access.groups)),
        units=access.units,
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _id(name: str, look_up: Callable[[], int]) -> int | None:
    if _is_number(name):
        # Python refuses to convert thousands of digits.
        return int(name) if len(name) <= len(str(LARGEST_ID)) and int(name) <= LARGEST_ID else None
    try:
        return look_up()
    except (KeyError, ValueError):
        return None


def _required(kind: str, name: str, look_up: Callable[[str], int | None]) -> int:
    if not name:
        return UNCHANGED
    number = look_up(name)
    if number is not None:
        return number
    if _is_number(name):
        raise NoSuchAccount(f"there is no {kind} {name}; the last is {LARGEST_ID}")
    raise NoSuchAccount(f"this host has no {kind} {name!r}; create it or name another")
