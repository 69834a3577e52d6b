"""Every fault of the host's side happens to the installed daemon, as many at a time as it bears."""

from collections.abc import Mapping, Sequence

import pytest

from faults.catalogue.all_faults import HOST_SIDE
from faults.rig.fault import Fault
from faults.verdicts.per_test import kept, reached
from faults.verdicts.verdict import Verdict

# The first test waits for the whole of it, and some of it is repeated on a busy machine.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Mapping[str, Sequence[Verdict]]:
    """Let those of the faults happen that were asked for."""
    return reached(HOST_SIDE, {item.name for item in request.session.items})


@pytest.mark.parametrize("fault", HOST_SIDE, ids=lambda fault: fault.name)
def test_the_promises_hold(fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Whatever the host lacks, no token is torn, other outputs go on, and it recovers."""
    kept(fault, verdicts)
