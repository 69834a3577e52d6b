"""Every fault of DSM's side happens to the installed daemon, all of them side by side."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from faults.dsm_side import FAULTS
from faults.fault import Fault
from faults.suite import run
from faults.verdict import Verdict


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Mapping[str, Sequence[Verdict]]:
    """Let the faults happen that were asked for."""
    asked = {item.name for item in request.session.items}
    chosen = [fault for fault in FAULTS if f"test_the_promises_hold[{fault.name}]" in asked]
    found = asyncio.run(run(chosen))
    return {fault.name: [one for one in found if one.fault == fault.name] for fault in chosen}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_promises_hold(fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Whatever goes wrong, consumers get good tokens within the budget, and it recovers."""
    assert verdicts[fault.name]
    for verdict in verdicts[fault.name]:
        assert verdict.complaints == (), f"{fault.breaks}, {verdict.length}: {verdict}"
