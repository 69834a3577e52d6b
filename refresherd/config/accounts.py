"""Users and groups that the configuration names: they exist, and can reach their outputs."""

import os
import stat
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

from refresherd.config.app_settings import OutputTable
from refresherd.config.findings import Finding, KeyPath, Kind, quoted
from refresherd.config.names import Principal
from refresherd.config.parse import Settings
from refresherd.host.accounts import group_id, may_give_away, user_id
from refresherd.host.path_identity import Resolver
from refresherd.host.user_namespace import Overflow, overflow

LONGEST_NAME = 1024
"""No account has a longer name; Python does not parse numbers of more than 4,300 digits."""

ACCESS_LIST = "system.posix_acl_access"
"""The extended attribute of a directory that also lets other users and groups in: acl(5)."""

LookUp: TypeAlias = Callable[[str], int | None]
"""Returns the number of a name, None if this host does not have it."""

Barrier: TypeAlias = tuple[Path, int]
"""A directory and its mode."""


def check_accounts(
    settings: Settings, resolver: Resolver, namespace: Overflow | None = None
) -> Iterator[Finding]:
    """Yield users and groups that this host lacks, and those that do not get what is theirs.

    `namespace` tells which of them cannot be told from others; by default that is looked up.
    """
    # A directory service may be slow, and ten thousand apps mostly name the same accounts.
    uid_of, gid_of = cache(user_id), cache(group_id)
    yield from _check_existence(settings, uid_of, gid_of)
    yield from _check_identity(settings, uid_of, gid_of, namespace or overflow())
    yield from _check_reach(settings, resolver, uid_of, gid_of)
    if not may_give_away():
        yield from _check_gifts(settings, uid_of, gid_of)


def _check_existence(settings: Settings, uid_of: LookUp, gid_of: LookUp) -> Iterator[Finding]:
    for key, name in settings.written(Principal):
        is_user = key[-1] == "owner" or key[-2] == "users"
        too_long = len(name) > LONGEST_NAME
        if too_long or (uid_of if is_user else gid_of)(name) is None:
            kind, number = ("user", "uid") if is_user else ("group", "gid")
            yield Finding(
                key,
                f"the {kind} {quoted(name)} does not exist; create it, or write a {number} in "
                "quotes",
                # No host has a number that is too large, nor a name that is too long.
                Kind.FAULT if too_long or name.isdecimal() else Kind.TROUBLE,
            )


def _check_identity(
    settings: Settings, uid_of: LookUp, gid_of: LookUp, namespace: Overflow
) -> Iterator[Finding]:
    """Yield a warning for each user and group whom `access` names in vain."""
    for key, name in settings.written(Principal):
        if key[-2] == "users" and uid_of(name) == namespace.uid is not None:
            message = _ambiguous(quoted(name), "user", namespace.uid, "name another one")
            yield Finding(key, message, Kind.WARNING)
        elif key[-2] == "groups" and gid_of(name) == namespace.gid is not None:
            message = _ambiguous(quoted(name), "group", namespace.gid, "name another one")
            yield Finding(key, message, Kind.WARNING)
    if os.geteuid() == namespace.uid:
        message = _ambiguous("this user", "user", namespace.uid, "run it as another one")
        yield Finding((), message, Kind.WARNING)


def _ambiguous(whom: str, kind: str, number: int, cure: str) -> str:
    return (
        f"{whom} gets no token from the API: in this user namespace, {number} stands for every "
        f"{kind} without a number here; {cure}, or run refresherd in a user namespace with every "
        f"{kind} (in a unit: without PrivateUsers=)"
    )


def _check_reach(
    settings: Settings, resolver: Resolver, uid_of: LookUp, gid_of: LookUp
) -> Iterator[Finding]:
    """Yield a warning for each output whose owner or group a directory keeps out."""
    barrier = cache(_barrier)
    for key, output in _outputs(settings):
        if not (output.owner or _for_group(output)):
            continue
        steps = resolver.opened(output.path.path.parent).steps
        uid = uid_of(output.owner) if output.owner else None
        gid = gid_of(output.group) if _for_group(output) else None
        if uid and (where := barrier(steps, uid, None)):
            yield _kept_out((*key, "owner"), f"the user {quoted(output.owner)}", where)
        if gid and (where := barrier(steps, None, gid)):
            yield _kept_out((*key, "group"), f"the group {quoted(output.group)}", where)


def _check_gifts(settings: Settings, uid_of: LookUp, gid_of: LookUp) -> Iterator[Finding]:
    """Yield a warning for each owner or group that this user may not give files to: chown(2)."""
    own, groups = os.geteuid(), {os.getegid(), *os.getgroups()}
    for key, output in _outputs(settings):
        if output.owner and uid_of(output.owner) not in (None, own):
            yield Finding(
                (*key, "owner"),
                f"this user (uid {own}) may not give files to the user {quoted(output.owner)}; "
                "use a group, or allow it (in a unit: see the drop-in hand-over.conf)",
                Kind.WARNING,
            )
        gid = gid_of(output.group) if output.group else None
        if gid not in (None, *groups) and not _inherited(output.path.path.parent, gid):
            yield Finding(
                (*key, "group"),
                f"this user (uid {own}) may not give files to the group {quoted(output.group)}; "
                "make it a member (in a unit: name the group in the drop-in hand-over.conf)",
                Kind.WARNING,
            )


def _inherited(directory: Path, gid: int | None) -> bool:
    """Return whether new files in a directory get this group by themselves: inode(7)."""
    try:
        found = directory.stat()
    except OSError:
        return False
    return bool(found.st_mode & stat.S_ISGID) and found.st_gid == gid


def _outputs(settings: Settings) -> Iterator[tuple[KeyPath, OutputTable]]:
    """Yield each app's files and sockets that have a path, with their keys."""
    for app in settings.apps:
        for kind, outputs in ("files", app.own.files), ("sockets", app.own.sockets):
            for index, output in enumerate(outputs):
                if output.path:
                    yield (*app.path, kind, index), output


def _for_group(output: OutputTable) -> bool:
    return bool(output.group) and bool(output.mode.bits & stat.S_IRWXG)


def _kept_out(key: KeyPath, whom: str, where: Barrier) -> Finding:
    path, mode = where
    name = quoted(str(path))
    return Finding(
        key,
        f"{whom} cannot enter {name} (mode {mode:04o}), and so cannot reach the token; run chmod "
        f"o+x {name}, or name another directory",
        Kind.WARNING,
    )


def _barrier(steps: tuple[Path, ...], uid: int | None, gid: int | None) -> Barrier | None:
    """Return the first directory that keeps a user or a group out, None if there is none."""
    for step in steps:
        try:
            found = step.lstat()
        except OSError:
            return None
        if stat.S_ISDIR(found.st_mode) and not _may_enter(found, uid, gid):
            return None if _has_access_list(step) else (step, stat.S_IMODE(found.st_mode))
    return None


def _has_access_list(directory: Path) -> bool:
    try:
        return ACCESS_LIST in os.listxattr(directory)
    except OSError:  # its file system has none
        return False


def _may_enter(found: os.stat_result, uid: int | None, gid: int | None) -> bool:
    """Return whether a directory's mode lets a user enter, or the members of a group.

    A user may be a member of the directory's group, so that group's permission is enough.
    """
    mode = found.st_mode
    if uid is not None and found.st_uid == uid:
        return bool(mode & stat.S_IXUSR)
    in_group = gid is None or gid == found.st_gid
    return bool(mode & stat.S_IXOTH) or (in_group and bool(mode & stat.S_IXGRP))
