"""What the README says of trouble, held against the faults that prove it."""

import re
from pathlib import Path

from faults.catalogue.all_faults import FAULTS
from faults.catalogue.clock_changes import CHANGES

PROOFS = {*CHANGES, *(fault.name for fault in FAULTS)}

README = Path(__file__).parents[2] / "README.md"


def rows() -> list[list[str]]:
    """Return the cells of the rows under "What happens when …"."""
    section = README.read_text().partition("\n## What happens when")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines if not line.startswith("| when ")]


def test_each_row_says_it_all_and_is_proved() -> None:
    """A promise in the README that no fault puts to the test is worth nothing."""
    for row in rows():
        assert len(row) == 5, row
        proofs = re.findall(r"`([^`]+)`", row[-1])
        assert proofs, row
        assert set(proofs) <= PROOFS, row


def test_each_fault_is_in_one_row() -> None:
    """Who wonders what a fault does to them finds it, and finds it once."""
    proofs = sorted(
        renewal_credential
        for row in rows()
        for renewal_credential in re.findall(r"`([^`]+)`", row[-1])
    )
    assert proofs == sorted(PROOFS)
