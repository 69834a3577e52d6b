"""Who may change a file besides root and this process's user, by its owner and its mode.

`read_own` reads files that only this process, or an earlier run of it, should have written.
"""

import grp
import os
import pwd
import stat
from contextlib import suppress
from errno import ELOOP
from functools import cache

from refresherd.domain.errors import OutputError
from refresherd.host.os_errors import failure
from refresherd.host.user_namespace import maps_all, overflow

OPEN_TO_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""Without blocking: a named pipe in the file's place would wait for a writer."""


class Distrusted(OutputError):
    """Somebody else may have written the file; `why` tells the sign of it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.why = why


def trusted_users() -> frozenset[int]:
    """Return the uids of root and of this process's user."""
    return frozenset((0, os.geteuid()))


def other_owner(found: os.stat_result) -> str:
    """Return the owner of a file as `user alice (uid 1000)`, "" if it is one of the trusted users.

    It is "" as well in a user namespace that does not know the owner.
    """
    uid = found.st_uid
    if uid in trusted_users() or (uid == overflow().uid and maps_all() is False):
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


def read_own(path: str, limit: int) -> bytes | None:
    """Return the first `limit` + 1 bytes of a file, None if there is none. Raises OutputError.

    More than `limit` bytes show that it is too long. Anything but a regular file counts as empty.
    Raises Distrusted for a link, another user's file, and one that everybody may write to.
    """
    try:
        fd = os.open(path, OPEN_TO_READ)
        try:
            found = os.fstat(fd)
            if owner := other_owner(found):
                raise Distrusted(path, f"it belongs to {owner}")
            if found.st_mode & stat.S_IWOTH:
                mode = stat.S_IMODE(found.st_mode)
                raise Distrusted(path, f"every user may write to it (mode {mode:04o})")
            parts = []
            missing = limit + 1 if stat.S_ISREG(found.st_mode) else 0
            # read(2) may return less than there is.
            while missing and (part := os.read(fd, min(missing, 1 << 20))):
                parts.append(part)
                missing -= len(part)
            return b"".join(parts)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == ELOOP:
            raise Distrusted(path, "it is a symbolic link") from None
        raise failure(path, "read it", error) from error


def look_up_groups_again() -> None:
    """Forget the members of groups, which a long-lived process would know only as they were."""
    _members.cache_clear()


@cache
def _members(gid: int) -> frozenset[int]:
    """Return the uids of the users in a group. It may block."""
    users = pwd.getpwall()
    try:
        named = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        named = set()
    return frozenset(user.pw_uid for user in users if user.pw_gid == gid or user.pw_name in named)
