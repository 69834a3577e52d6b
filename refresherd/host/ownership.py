"""Hands an open file to the owner, group and mode that its consumers need."""

import grp
import os
import pwd
from collections.abc import Callable

from refresherd.domain.errors import OutputError
from refresherd.domain.model import Ownership
from refresherd.host.os_errors import failure

UNCHANGED = -1
"""What chown(2) takes for "leave it"."""

LARGEST_ID = 2**32 - 2
"""The kernel's ids have 32 bits, and the last of them is UNCHANGED."""


def hand_over(fd: int, path: str, ownership: Ownership) -> None:
    """Give an open file exactly this owner, group and mode, whatever the umask.

    The owner comes first, since chown(2) clears the set-id bits. Names are resolved
    each time: accounts come and go. Raises OutputError.
    """
    if ownership.owner or ownership.group:
        _chown(fd, path, ownership)
    try:
        os.fchmod(fd, ownership.mode)
    except OSError as error:
        raise failure(path, f"set mode {ownership.mode:04o}", error) from error


def _chown(fd: int, path: str, ownership: Ownership) -> None:
    owner = _number(path, "user", ownership.owner, lambda name: pwd.getpwnam(name).pw_uid)
    group = _number(path, "group", ownership.group, lambda name: grp.getgrnam(name).gr_gid)
    try:
        os.fchown(fd, owner, group)
    except OSError as error:
        named = (("user", ownership.owner), ("group", ownership.group))
        whom = " and ".join(f"{kind} {name}" for kind, name in named if name)
        raise failure(path, f"give it to {whom}", error) from error


def _number(path: str, kind: str, name: str, look_up: Callable[[str], int]) -> int:
    if not name:
        return UNCHANGED
    if name.isascii() and name.isdigit():
        if int(name) > LARGEST_ID:
            raise OutputError(f"{path}: there is no {kind} {name}; the last is {LARGEST_ID}")
        return int(name)
    try:
        return look_up(name)
    except (KeyError, ValueError):
        raise OutputError(
            f"{path}: this host has no {kind} {name!r}; create it or name another"
        ) from None
