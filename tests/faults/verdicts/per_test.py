"""For the tests: faults happen side by side once, and each test has its own verdicts."""

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


def reached(
    faults: Sequence[Fault], by_operator: Collection[str]
) -> Mapping[str, Sequence[Verdict]]:
    """Let those of the faults happen for which tests are asked, by the names of the tests."""
    names = [
        fault.name for fault in faults if any(f"[{fault.name}]" in name for name in by_operator)
    ]
    found: defaultdict[str, list[Verdict]] = defaultdict(list)
    possible = [fault for fault in chosen(names) if not missing(fault.setting)]
    asyncio.run(run(possible, lambda verdict: found[verdict.fault].append(verdict)))
    return found


def kept(fault: Fault, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Fail unless the promises were kept while a fault lasted; skip what can't happen here."""
    lack = missing(fault.setting)
    needs(not lack, lack)
    assert [verdict.length for verdict in verdicts[fault.name]] == [
        length.name for length in fault.lengths
    ]
    for verdict in verdicts[fault.name]:
        if not verdict.proven:
            pytest.skip(f"{REASON}: {verdict.length}: {'; '.join(verdict.complaints)}")
        assert verdict.complaints == (), f"{fault.breaks}, {verdict.length}: {verdict}"
