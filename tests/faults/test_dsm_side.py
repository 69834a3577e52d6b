"""Every fault of DSM's side happens to the installed daemon, all of them side by side."""

from collections.abc import Mapping, Sequence

import pytest
from faults.catalogue import DSM_SIDE
from faults.fault import Fault
from faults.verdict import Verdict
from faults.verdicts import kept, reached


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Mapping[str, Sequence[Verdict]]:
    """Let those of the faults happen that were asked for."""
    return reached(DSM_SIDE, {item.name for item in request.session.items})


@pytest.mark.parametrize("fault", DSM_SIDE, ids=lambda fault: fault.name)
def test_the_promises_hold(fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Whatever goes wrong, consumers get good tokens within the budget, and it recovers."""
    kept(fault, verdicts)
