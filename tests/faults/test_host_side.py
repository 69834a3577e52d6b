"""Every fault of the host's side happens to the installed daemon, several at a time."""

from collections.abc import Mapping, Sequence

import pytest

from faults.catalogue.all_faults import HOST_SIDE
from faults.rig.fault import Fault
from faults.verdicts.per_test import assert_promises_kept, verdicts_by_fault
from faults.verdicts.verdict import Verdict

# The first test waits for all faults, and some are repeated on a busy machine.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Mapping[str, Sequence[Verdict]]:
    """Let the faults of the selected tests happen."""
    return verdicts_by_fault(HOST_SIDE, {item.name for item in request.session.items})


@pytest.mark.parametrize("fault", HOST_SIDE, ids=lambda fault: fault.name)
def test_the_promises_hold(fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """No token is torn, other outputs go on, and the daemon recovers."""
    assert_promises_kept(fault, verdicts)
