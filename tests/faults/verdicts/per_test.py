"""Verdicts for tests: the faults happen side by side once, and each test looks at its own."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import pytest

from faults.catalogue.all_faults import chosen
from faults.rig.fault import Fault
from faults.rig.parts import missing
from faults.rig.suite import run
from faults.verdicts.verdict import Verdict
from support.lab import needs
from support.not_proven import REASON


def verdicts_by_fault(
    faults: Sequence[Fault], test_names: Collection[str]
) -> Mapping[str, Sequence[Verdict]]:
    """Let the faults happen that the selected tests are about; return their verdicts by name."""
    names = [
        fault.name for fault in faults if any(f"[{fault.name}]" in name for name in test_names)
    ]
    found: defaultdict[str, list[Verdict]] = defaultdict(list)
    possible = [fault for fault in chosen(names) if not missing(fault.setting)]
    asyncio.run(run(possible, lambda verdict: found[verdict.fault].append(verdict)))
    return found


def assert_promises_kept(fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Fail unless the promises were kept. Skip if this host cannot have the fault."""
    lack = missing(fault.setting)
    needs(not lack, lack)
    assert [verdict.length for verdict in verdicts[fault.name]] == [
        length.name for length in fault.lengths
    ]
    for verdict in verdicts[fault.name]:
        if not verdict.proven:
            pytest.skip(f"{REASON}: {verdict.length}: {'; '.join(verdict.complaints)}")
        assert verdict.complaints == (), f"{fault.breaks}, {verdict.length}: {verdict}"
