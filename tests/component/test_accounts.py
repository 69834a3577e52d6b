"""Names of accounts are looked up when they are needed, off the loop, for a limited time."""

import grp
import os
import pwd
import threading

import pytest

from refresherd.domain.access import Permitted
from refresherd.domain.model import Access, Ownership
from refresherd.host.accounts import (
    LARGEST_ID,
    NoSuchAccount,
    group_id,
    owner_ids,
    permitted,
    resolve,
    user_id,
)
from refresherd.host.keyed_executor import KeyedExecutor

ME = pwd.getpwuid(os.getuid()).pw_name
MINE = grp.getgrgid(os.getgid()).gr_name


def test_names_and_numbers_are_resolved() -> None:
    """A number need not belong to an account: containers have users without a name."""
    assert (user_id(ME), group_id(MINE)) == (os.getuid(), os.getgid())
    assert (user_id("4242"), group_id("4242")) == (4242, 4242)


@pytest.mark.parametrize("name", ["no-such-account", "", str(2**32 - 1), "1" * 5000, "٣", "a\0b"])
def test_a_name_without_an_account_gives_none(name: str) -> None:
    """Never another account's id, and never the number that leaves an owner as it is."""
    assert user_id(name) is None
    assert group_id(name) is None


@pytest.mark.parametrize(
    ("ownership", "complaint"),
    [
        (Ownership(owner="nobody-here"), "this host has no user 'nobody-here'; create it or name"),
        (Ownership(group="nobody-here"), "this host has no group 'nobody-here'; create it or name"),
        (Ownership(owner="4294967295"), f"there is no user 4294967295; the last is {LARGEST_ID}"),
        (Ownership(group="9" * 30), f"there is no group {'9' * 30}; the last is {LARGEST_ID}"),
    ],
)
def test_an_owner_that_does_not_exist_is_named(ownership: Ownership, complaint: str) -> None:
    """The operator reads which account is missing, or that no account has such a number."""
    with pytest.raises(NoSuchAccount, match=complaint):
        owner_ids(ownership)


def test_an_owner_that_is_not_named_stays() -> None:
    """-1 is what chown(2) takes for that."""
    assert owner_ids(Ownership(owner=ME)) == (os.getuid(), -1)
    assert owner_ids(Ownership(group=MINE)) == (-1, os.getgid())


async def test_unknown_names_permit_nobody() -> None:
    """The id of an account that was removed may belong to another one later."""
    access = Access(
        users=(ME, "no-such-user", "7"), groups=(MINE, "no-such-group"), units=("a.service",)
    )
    found = await permitted(access, KeyedExecutor(idle_timeout=0.1))
    assert found == Permitted(
        frozenset({os.getuid(), 7}), frozenset({os.getgid()}), frozenset({"a.service"})
    )


async def test_numbers_need_no_lookup() -> None:
    """They work even while the directory service hangs."""

    def fail(_: Access) -> Permitted:
        raise AssertionError("looked up")

    access = Access(users=("7",), groups=("8",), units=("a.b",))
    found = await permitted(access, KeyedExecutor(), look_up=fail)
    assert found == Permitted(frozenset({7}), frozenset({8}), frozenset({"a.b"}))


async def test_a_directory_service_that_hangs_affects_only_names() -> None:
    """The loop goes on meanwhile, and users named by number or unit are served."""
    go_on = threading.Event()

    def hang(access: Access) -> Permitted:
        assert go_on.wait(10)
        return resolve(access)

    executor = KeyedExecutor(idle_timeout=0.1)
    access = Access(users=(ME, "7"), groups=("8", MINE), units=("a.service",))
    found = await permitted(access, executor, patience=0.1, look_up=hang)
    assert found == Permitted(frozenset({7}), frozenset({8}), frozenset({"a.service"}))
    go_on.set()
    await executor.drained()
