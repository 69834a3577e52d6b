"""Every fault of DSM's side happens to the installed daemon, side by side."""

from collections.abc import Mapping, Sequence

import pytest

from faults.catalogue.all_faults import DSM_SIDE
from faults.catalogue.impossible import IMPOSSIBLE
from faults.rig.fault import Fault
from faults.verdicts.per_test import assert_promises_kept, verdicts_by_fault
from faults.verdicts.verdict import Verdict
from support.not_proven import REASON

# The first test waits for all faults, and some are repeated on a busy machine.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Mapping[str, Sequence[Verdict]]:
    """Let the faults of the selected tests happen."""
    return verdicts_by_fault(
        (*DSM_SIDE, *IMPOSSIBLE.values()), {item.name for item in request.session.items}
    )


@pytest.mark.parametrize("fault", DSM_SIDE, ids=lambda fault: fault.name)
def test_the_promises_hold(fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Consumers get valid tokens within the outage budget, and the daemon recovers."""
    assert_promises_kept(fault, verdicts)


@pytest.mark.parametrize(
    ("complaint", "fault"), IMPOSSIBLE.items(), ids=[fault.name for fault in IMPOSSIBLE.values()]
)
def test_a_broken_promise_is_noticed(
    complaint: str, fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]
) -> None:
    """A fault that nothing could survive must be reported, or the suite proves nothing."""
    (verdict,) = verdicts[fault.name]
    seen = any(complaint in message for message in verdict.complaints)
    if not seen and verdict.busy:
        pytest.skip(REASON)
    assert seen, verdict
