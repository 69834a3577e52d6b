"""The text of a /proc/PID/cgroup, parsed without trust in the names in it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.host.control_groups import unit_of


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
