"""Names of accounts as numbers: of users, of groups, and of all whom `access` names."""

import grp
import os
import pwd
import resource

import pytest

from refresherd.domain.access import Permitted
from refresherd.domain.model import Access, Ownership
from refresherd.host.accounts import (
    LARGEST_ID,
    NoSuchAccount,
    group_id,
    owner_ids,
    resolve,
    user_id,
    without_names,
)

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


def test_unknown_names_permit_nobody() -> None:
    """The id of an account that was removed may belong to another one later."""
    access = Access(
        users=(ME, "no-such-user", "7"), groups=(MINE, "no-such-group"), units=("a.service",)
    )
    assert resolve(access) == Permitted(
        frozenset({os.getuid(), 7}), frozenset({os.getgid()}), frozenset({"a.service"})
    )


def test_numbers_and_units_need_no_lookup() -> None:
    """They work even while the directory service hangs."""
    access = Access(users=("7", ME), groups=("8", MINE), units=("a.service",))
    assert without_names(access) == Access(("7",), ("8",), ("a.service",))


def test_without_descriptors_no_name_counts_as_unknown() -> None:
    """The C library then finds nobody, as if the account had been removed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = os.open("/", os.O_PATH)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (held, hard))
        with pytest.raises(OSError, match="Too many open files"):
            resolve(Access(users=("no-such-user",)))
        assert resolve(Access(users=("7",))) == Permitted(frozenset({7}))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(held)
