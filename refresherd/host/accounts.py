"""Names of users and groups as the kernel's numbers, looked up whenever they are needed."""

import asyncio
import grp
import pwd
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from refresherd.domain.access import Permitted
from refresherd.domain.model import Access
from refresherd.host.keyed_executor import KeyedExecutor

LARGEST_ID = 2**32 - 2
"""The kernel's ids have 32 bits, and the last of them means "leave it": chown(2)."""

PATIENCE_SECONDS = 5.0
"""A directory service that takes longer hangs; whom only it could name is not permitted."""


def user_id(name: str) -> int | None:
    """Return the uid of a user's name or number, None if there is no such user. It may block."""
    return _number(name, lambda: pwd.getpwnam(name).pw_uid)


def group_id(name: str) -> int | None:
    """Return the gid of a group's name or number, None if there is no such group. It may block."""
    return _number(name, lambda: grp.getgrnam(name).gr_gid)


def permitted(access: Access) -> Permitted:
    """Return whom `access` names; a name that this host lacks permits nobody. It may block."""
    return Permitted(
        uids=_found(map(user_id, access.users)),
        gids=_found(map(group_id, access.groups)),
        units=frozenset(access.units),
    )


class Accounts:
    """Looks names up off the event loop: behind NSS there may be a server that hangs."""

    def __init__(self, executor: KeyedExecutor, *, patience: float = PATIENCE_SECONDS) -> None:
        self._executor = executor
        self._patience = patience

    async def permitted(self, access: Access) -> Permitted:
        """Return whom `access` names now, as far as names are resolved in time."""
        if all(map(_is_number, (*access.users, *access.groups))):
            return permitted(access)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                return await self._executor.call("accounts", partial(permitted, access))
        numbers = Access(
            users=tuple(filter(_is_number, access.users)),
            groups=tuple(filter(_is_number, access.groups)),
            units=access.units,
        )
        return permitted(numbers)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _number(name: str, look_up: Callable[[], int]) -> int | None:
    if _is_number(name):
        return int(name) if int(name) <= LARGEST_ID else None
    try:
        return look_up()
    except (KeyError, ValueError):
        return None


def _found(numbers: Iterable[int | None]) -> frozenset[int]:
    return frozenset(number for number in numbers if number is not None)
