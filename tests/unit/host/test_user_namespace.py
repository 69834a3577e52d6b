"""Which ids are ambiguous in a user namespace, by the tables that the kernel shows."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.access import OVERFLOW_ID
from refresherd.host.user_namespace import Overflow, maps_all, overflow

HOST = "         0          0 4294967295\n"
FULL = "         0          0          1\n         1          1 4294967294\n"
CONTAINER = "         0     100000      65536\n"
ROOTLESS = "         0       1000          1\n         1     100000      65536\n"


@pytest.mark.parametrize(
    ("table", "complete"),
    [
        (HOST, True),
        (FULL, True),
        (CONTAINER, False),
        (ROOTLESS, False),
        ("         0          0      65536\n", False),
        ("", False),
        ("0 0\n", None),
        ("0 0 x\n", None),
    ],
)
def test_a_namespace_is_complete_if_it_maps_every_id(
    tmp_path: Path, table: str, complete: object
) -> None:
    """As outside any namespace, and with PrivateUsers=full of systemd 257."""
    (tmp_path / "uid_map").write_text(table)
    assert maps_all(tmp_path / "uid_map") is complete


def proc(root: Path, uids: str, gids: str) -> Path:
    """Make a /proc with these tables."""
    (root / "self").mkdir()
    (root / "self" / "uid_map").write_text(uids)
    (root / "self" / "gid_map").write_text(gids)
    return root


def test_users_and_groups_are_judged_apart(tmp_path: Path) -> None:
    """A namespace has a table for each."""
    assert overflow(proc(tmp_path, HOST, CONTAINER)) == Overflow(None, OVERFLOW_ID)


def test_the_host_may_have_chosen_other_numbers(tmp_path: Path) -> None:
    """As /proc/sys/kernel/overflowuid and overflowgid say."""
    place = proc(tmp_path, CONTAINER, CONTAINER)
    (place / "sys/kernel").mkdir(parents=True)
    (place / "sys/kernel/overflowuid").write_text("99\n")
    (place / "sys/kernel/overflowgid").write_text("98\n")
    assert overflow(place) == Overflow(99, 98)


def test_without_proc_nothing_is_certain(tmp_path: Path) -> None:
    """Then nobody is taken for the user 65534, which may be anybody."""
    assert maps_all(tmp_path / "self/uid_map") is None
    assert overflow(tmp_path) == Overflow(OVERFLOW_ID, OVERFLOW_ID)


@given(table=st.text(alphabet="0123456789 \n-x", max_size=60))
def test_no_table_breaks_anything(tmp_path_factory: pytest.TempPathFactory, table: str) -> None:
    """It is read at the first connection."""
    file = tmp_path_factory.mktemp("tables") / "uid_map"
    file.write_text(table)
    assert maps_all(file) in (True, False, None)
