"""The texts of /proc and the addresses of systemd, parsed without trust in either."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.host.peers import claimed_unit, groups_of, unit_of

STATUS = "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nGid:\t5\t5\t5\t5\nGroups:\t5 6 70000 \n"


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/web.service\n", "web.service"),
        ("0::/system.slice/web.service/worker/deep\n", "web.service"),
        ("0::/system.slice/system-web.slice/web@1.service\n", "web@1.service"),
        ("0::/payments.slice/payments-web.slice/web.service\n", "web.service"),
        ("0::/system.slice/_cpu.service\n", "cpu.service"),
        ("0::/system.slice/dev\\x2dweb.service\n", "dev\\x2dweb.service"),
        ("0::/init.scope\n", "init.scope"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        ("4:memory:/x\n1:name=systemd:/system.slice/web.service\n0::/\n", "web.service"),
        ("1:name=systemd:/system.slice/web.service\n", "web.service"),
        ("0::/system.slice/a.service\n1:name=systemd:/system.slice/b.service\n", "a.service"),
    ],
)
def test_the_system_unit_is_found(cgroups: str, unit: str) -> None:
    """In both versions of control groups, nested, in slices of the operator's own, and escaped."""
    assert unit_of(cgroups) == unit


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service\n", "user@1000"),
        ("0::/system.slice/docker-1.scope/system.slice/web.service\n", "docker-1"),
        ("0::/docker/0123/system.slice/web.service\n", ""),
        ("0::/../web.service\n", ""),
        ("0::/../../system.slice/web.service\n", ""),
        ("0::/system.slice/web.service (deleted)\n", ""),
        ("0::/system.slice\n", ""),
        ("0::/\n", ""),
        ("4:memory:/system.slice/web.service\n", ""),
        ("0::web.service\n", ""),
        ("", ""),
        ("0\n::\n", ""),
    ],
)
def test_a_group_that_a_user_may_have_named_is_no_unit(cgroups: str, unit: str) -> None:
    """Below a user's manager or in a container anybody may call a group `web.service`."""
    assert unit_of(cgroups).removesuffix(".service").removesuffix(".scope") == unit


@given(st.text(), st.lists(st.text(st.characters(exclude_characters="/\n\r")), max_size=5))
def test_a_unit_is_the_first_part_that_is_no_slice_or_nothing(head: str, parts: list[str]) -> None:
    """Whatever the kernel is made to show by names with newlines and worse, nothing breaks."""
    unit_of(head)
    unit = unit_of("0::/" + "/".join(parts))
    outside = [part for part in parts if not part.removeprefix("_").endswith(".slice")]
    assert unit in ("", *(part.removeprefix("_") for part in outside[:1]))
    assert unit == "" or re.fullmatch(r"\S+\.(service|scope|socket|mount|swap)", unit)


def test_groups_are_those_of_the_process() -> None:
    """A user in more groups than the kernel tells in one answer is no less a member."""
    assert groups_of(STATUS, 1000) == {5, 6, 70000}
    assert groups_of(STATUS.replace("5 6 70000 ", ""), 1000) == set()


@pytest.mark.parametrize(
    "status",
    [
        STATUS.replace("1000\t1000\t1000\t1000", "1000\t0\t0\t0"),
        STATUS.replace("1000\t1000\t1000\t1000", "1001\t1001\t1001\t1001"),
        STATUS.replace("Uid:", "Vid:"),
        "",
    ],
)
def test_a_process_that_is_somebody_else_by_now_has_no_groups(status: str) -> None:
    """It may have started sudo, say, which is in root's groups for a moment."""
    assert groups_of(status, 1000) == set()


@pytest.mark.parametrize(
    ("address", "unit"),
    [
        (b"\0adf9d86b6eda275e/unit/web.service/token", "web.service"),
        (b"\0a1/unit/web@x.service/a/b", "web@x.service"),
        (b"\0a1/unit/w\xff.service/t", "w\ufffd.service"),
        (b"\0a1/unit/web.service/", ""),
        (b"\0a1/unit/web.service", ""),
        (b"\0a1/unit//token", ""),
        (b"\0/unit/web.service/token", ""),
        (b"\0a-1/unit/web.service/token", ""),
        (b"adf9/unit/web.service/token", ""),
        (b"", ""),
        ("", ""),
        ("/run/a1/unit/web.service/token", ""),
        (None, ""),
    ],
)
def test_a_claim_is_read_as_systemd_documents_it(address: object, unit: str) -> None:
    """Of what is not of that form, nothing is taken for a unit."""
    assert claimed_unit(address) == unit


@given(st.binary(max_size=108))
def test_no_address_breaks_anything(address: bytes) -> None:
    """Whoever connects may choose it."""
    assert isinstance(claimed_unit(address), str)
