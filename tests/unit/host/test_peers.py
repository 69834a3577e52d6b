"""The texts of /proc and the addresses of systemd, parsed without trust in either."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.host.peers import claimed_unit, groups_in

STATUS = "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nGid:\t5\t5\t5\t5\nGroups:\t5 6 70000 \n"


def test_groups_are_those_of_the_process() -> None:
    """A user in more groups than the kernel tells in one answer is no less a member."""
    assert groups_in(STATUS, 1000) == {5, 6, 70000}
    assert groups_in(STATUS.replace("5 6 70000 ", ""), 1000) == set()


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
    assert groups_in(status, 1000) == set()


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
