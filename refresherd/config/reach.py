"""Whether those for whom an output is meant may enter the directories above it."""

import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

from refresherd.config.app_settings import OutputTable
from refresherd.config.findings import Finding, KeyPath, Kind, quoted
from refresherd.config.parse import Settings
from refresherd.host.accounts import group_id, user_id
from refresherd.host.path_identity import Resolver

ACCESS_LIST = "system.posix_acl_access"
"""The extended attribute of a directory that also lets other users and groups in: acl(5)."""

Barrier: TypeAlias = tuple[Path, int]
"""A directory and its mode."""


def check_reach(settings: Settings, resolver: Resolver) -> Iterator[Finding]:
    """Yield a warning for each output whose owner or group is kept out by a directory."""
    number_of = cache(lambda look_up, name: look_up(name))
    barrier = cache(_barrier)
    for app in settings.apps:
        for kind, outputs in ("files", app.own.files), ("sockets", app.own.sockets):
            for index, output in enumerate(outputs):
                if not output.path or not (output.owner or _for_group(output)):
                    continue
                steps = resolver.opened(output.path.path.parent).steps
                uid = number_of(user_id, output.owner) if output.owner else None
                gid = number_of(group_id, output.group) if _for_group(output) else None
                key = (*app.path, kind, index)
                if uid and (where := barrier(steps, uid, None)):
                    yield _finding((*key, "owner"), f"the user {quoted(output.owner)}", where)
                if gid and (where := barrier(steps, None, gid)):
                    yield _finding((*key, "group"), f"the group {quoted(output.group)}", where)


def _for_group(output: OutputTable) -> bool:
    return bool(output.group) and bool(output.mode.bits & stat.S_IRWXG)


def _finding(key: KeyPath, whom: str, where: Barrier) -> Finding:
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
