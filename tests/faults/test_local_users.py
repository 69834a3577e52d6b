"""Every flood by a local user happens to the installed daemon, after the other faults."""

from collections.abc import Mapping, Sequence

import pytest

from faults.catalogue.local_users import FAULTS
from faults.rig.fault import Fault
from faults.verdicts.per_test import assert_promises_kept, verdicts_by_fault
from faults.verdicts.verdict import Verdict

# The first test waits for all faults, and some are repeated on a busy machine.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Mapping[str, Sequence[Verdict]]:
    """Let the floods of the selected tests happen."""
    return verdicts_by_fault(FAULTS, {item.name for item in request.session.items})


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_promises_hold(fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Whatever a user does, outputs stay fresh, readers get tokens, and memory is bounded."""
    assert_promises_kept(fault, verdicts)
