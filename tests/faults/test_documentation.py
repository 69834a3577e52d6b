"""The documentation of faults agrees with the catalogue of faults that prove it."""

import re

import pytest

from faults.catalogue.all_faults import FAULTS
from faults.catalogue.clock_changes import CHANGES
from support.documentation import CHECKOUT, rows

PAGE = CHECKOUT / "docs" / "what-happens-when.md"
SECTIONS = (
    "Trouble with DSM",
    "Trouble on the host",
    "Trouble from local users",
    "Trouble with clocks",
)
ROWS = [row for section in SECTIONS for row in rows(PAGE, section)]

PROOFS = {*CHANGES, *(fault.name for fault in FAULTS)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_row_is_complete_and_proved(row: list[str]) -> None:
    """Each promise on the page is tested by a fault."""
    assert len(row) == 5
    assert all(row)
    assert proofs(row)
    assert set(proofs(row)) <= PROOFS


def test_each_fault_is_in_one_row() -> None:
    """A reader finds each fault, in exactly one row."""
    assert sorted(proof for row in ROWS for proof in proofs(row)) == sorted(PROOFS)


def proofs(row: list[str]) -> list[str]:
    """Return the names of the faults that prove a row."""
    return re.findall(r"`([^`]+)`", row[-1])
