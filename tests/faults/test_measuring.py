"""The suite's own measurements count correctly, so that its verdicts can be trusted."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.rig.readers import Output, Seen
from faults.rig.recorder import Look, most_between, most_in_a_window
from faults.verdicts.table import merged, table
from faults.verdicts.verdict import Verdict

INSTANTS = st.lists(st.integers(0, 50).map(float)).map(sorted)
VERDICT = Verdict(
    "refused",
    "brief",
    within_budget=True,
    seconds=3.0,
    seen=Counter({(Output.FILE, Seen.GOOD): 2}),
    recovery=0.5,
)


@given(INSTANTS, st.integers(0, 20))
def test_the_fullest_window_is_found(arrivals: list[float], seconds: int) -> None:
    """A burst is found wherever the window would begin."""
    counts = [sum(a <= other <= a + seconds for other in arrivals) for a in arrivals]
    assert most_in_a_window(arrivals, seconds) == max(counts, default=0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 5))))
def test_the_fullest_interval_between_two_looks_is_found(steps: list[tuple[int, int, int]]) -> None:
    """Attempts count for a window only if they were certainly made within it."""
    looks, now, attempts = [], 0, 0
    for pause, took, made in steps:
        began = now + pause
        now, attempts = began + took, attempts + made
        looks.append(Look(began, now, attempts))
    pairs = [(a, b) for n, a in enumerate(looks) for b in looks[n:] if b.ended - a.began <= 5]
    most = max((b.attempts - a.attempts for a, b in pairs), default=0)
    assert most_between(looks, 5) == most


def test_many_trials_of_a_fault_are_one_row() -> None:
    """The table of a soak is no longer than that of a short run, and hides no complaint."""
    slow = replace(VERDICT, recovery=7.0, complaints=("a torn token was read (1)",))
    (row,) = merged([VERDICT, slow, VERDICT])
    assert (row.times, row.count(*Seen), row.recovery) == (3, 6, 7.0)
    assert "torn token" in table([row])
    (never,) = merged([VERDICT, replace(VERDICT, recovery=None)])
    assert never.recovery is None


@pytest.mark.parametrize(
    ("complaint", "pressure", "broken", "proven"),
    [
        pytest.param("it did not recover in time (1)", 0.0, True, True, id="slow-when-idle"),
        pytest.param("it did not recover in time (1)", 0.9, False, False, id="slow-when-busy"),
        pytest.param("a torn token was read (1)", 0.9, True, True, id="torn-when-busy"),
        pytest.param("the daemon is gone (1)", 0.9, True, True, id="gone-when-busy"),
    ],
)
def test_a_busy_machine_excuses_slowness_and_nothing_else(
    complaint: str, pressure: float, *, broken: bool, proven: bool
) -> None:
    """A slow trial proves nothing there and is repeated; a torn token is torn on any machine."""
    verdict = replace(VERDICT, complaints=(complaint,), pressure=pressure)
    assert (verdict.broken, verdict.proven) == (broken, proven)


def test_kept_promises_are_proven_on_a_busy_machine() -> None:
    """They were kept although it was busy."""
    verdict = replace(VERDICT, pressure=0.9)
    assert (verdict.broken, verdict.proven) == (False, True)
