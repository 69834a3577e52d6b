"""Who may change a file besides root and this process's user, by its owner and its mode."""

import grp
import os
import pwd
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

UNMAPPED = 65534
"""What a user namespace shows for users that it does not know: user_namespaces(7)."""


def trusted_users() -> frozenset[int]:
    """Return the uids of root and of this process's user."""
    return frozenset((0, os.geteuid()))


def other_owner(found: os.stat_result) -> str:
    """Return the owner of a file as `user alice (uid 1000)`, "" if it is one of the trusted users.

    A user namespace may not know the owner; nothing can be said of such a one.
    """
    uid = found.st_uid
    if uid in trusted_users() or (uid == UNMAPPED and _in_user_namespace()):
        return ""
    with suppress(KeyError):
        return f"user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    return f"uid {uid}"


def other_writers(found: os.stat_result) -> str:
    """Return whom a file's mode lets write besides its owner, "" if that is nobody else.

    A group counts if this host knows a member of it that is neither trusted nor the owner: many
    users have a group of their own, in which they are alone.
    """
    if not found.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        return ""
    mode = f"(mode {stat.S_IMODE(found.st_mode):04o})"
    if found.st_mode & stat.S_IWOTH:
        return f"every user {mode}"
    if not _members(found.st_gid) - trusted_users() - {found.st_uid}:
        return ""
    with suppress(KeyError):
        return f"the group {grp.getgrgid(found.st_gid).gr_name} {mode}"
    return f"the group {found.st_gid} {mode}"


@cache
def _members(gid: int) -> frozenset[int]:
    """Return the uids of the users in a group. It may block."""
    users = pwd.getpwall()
    try:
        named = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        named = set()
    return frozenset(user.pw_uid for user in users if user.pw_gid == gid or user.pw_name in named)


@cache
def _in_user_namespace(table: Path = Path("/proc/self/uid_map")) -> bool:
    """Return whether this process sees only some of the host's users."""
    try:
        return table.read_text().split() != ["0", "0", "4294967295"]
    except OSError:
        return False
