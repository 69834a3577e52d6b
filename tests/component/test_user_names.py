"""Names of users, looked up on this host in the background."""

import os
import pwd

from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.user_names import MAX_NAMES, UserNames
from support.fakes import settle

NOBODY_HAS = 4_000_000_000


async def names_of(*uids: int) -> list[str]:
    """Return the names of users once they were looked up."""
    executor = KeyedExecutor()
    names = UserNames(executor)
    for uid in uids:
        names.learn(uid)
    await settle()
    await executor.drained()
    await settle()
    return [names.name(uid) for uid in uids]


async def test_a_user_has_the_name_that_this_host_gives() -> None:
    """People know their users by name."""
    uid = os.getuid()
    assert await names_of(uid, uid) == [pwd.getpwuid(uid).pw_name] * 2


async def test_a_uid_without_a_name_is_no_error() -> None:
    """Containers run under uids that /etc/passwd does not name."""
    assert await names_of(NOBODY_HAS, 2**40) == ["", ""]


async def test_a_name_is_unknown_until_it_is_found() -> None:
    """A directory service that hangs must hold up nobody."""
    names = UserNames(KeyedExecutor())
    assert names.name(0) == ""


async def test_the_memory_is_bounded() -> None:
    """A host may have any number of users."""
    executor = KeyedExecutor()
    names = UserNames(executor)
    for uid in range(NOBODY_HAS, NOBODY_HAS + MAX_NAMES + 10):
        names.learn(uid)
    # Only memory shows how many there are.
    assert len(names._names) <= MAX_NAMES
    await settle()
    await executor.drained()
