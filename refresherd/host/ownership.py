"""Hands an open file to the owner, group and mode that its consumers need."""

import os

from refresherd.domain.errors import OutputError
from refresherd.domain.model import Ownership
from refresherd.host.accounts import NoSuchAccount, owner_ids
from refresherd.host.os_errors import failure


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
    try:
        owner, group = owner_ids(ownership)
    except NoSuchAccount as error:
        raise OutputError(f"{path}: {error}") from None
    try:
        os.fchown(fd, owner, group)
    except OSError as error:
        named = (("user", ownership.owner), ("group", ownership.group))
        whom = " and ".join(f"{kind} {name}" for kind, name in named if name)
        raise failure(path, f"give it to {whom}", error) from error
