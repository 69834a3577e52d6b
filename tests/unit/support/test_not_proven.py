"""What happens to a test of timing on a machine that is too busy."""

from pathlib import Path

import pytest

from support import not_proven
from support.not_proven import Stopwatch, waited

SLOW = """
import pytest

tries = []

@pytest.mark.timing
def test_slow():
    tries.append(1)
    assert len(tries) >= {passes_at}, "too slow"
"""


def pressed(monkeypatch: pytest.MonkeyPatch, pressure: float) -> None:
    """Let the machine seem as busy as that."""
    monkeypatch.setattr(Stopwatch, "pressure", lambda _: pressure)


@pytest.mark.parametrize(
    ("passes_at", "pressure", "outcome"),
    [
        pytest.param(1, 0.9, {"passed": 1}, id="in-time"),
        pytest.param(3, 0.9, {"passed": 1}, id="in-time-when-repeated"),
        pytest.param(4, 0.9, {"skipped": 1}, id="never-in-time"),
        pytest.param(2, 0.1, {"failed": 1}, id="too-slow-on-an-idle-machine"),
    ],
)
def test_a_busy_machine_never_fails_a_test_of_timing(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    passes_at: int,
    pressure: float,
    outcome: dict[str, int],
) -> None:
    """It is repeated and then skipped; on an idle machine slowness is a failure."""
    pressed(monkeypatch, pressure)
    pytester.makepyfile(SLOW.format(passes_at=passes_at))
    result = pytester.runpytest_inprocess("-p", not_proven.__name__, "-p", "no:asyncio")
    result.assert_outcomes(**outcome)


def test_pressure_is_the_share_of_time_in_which_something_waited() -> None:
    """The busiest resource decides."""
    readings = iter([{"cpu": 1.0, "io": 5.0}, {"cpu": 4.0, "io": 6.0}])
    clock = iter([100.0, 110.0])
    stopwatch = Stopwatch(lambda: next(readings), lambda: next(clock))
    assert stopwatch.pressure() == pytest.approx(0.3)


def test_the_kernels_totals_are_read_in_seconds(tmp_path: Path) -> None:
    """They are microseconds in the file."""
    (tmp_path / "cpu").write_text("some avg10=1.50 total=2500000\nfull total=0\n")
    assert waited(tmp_path) == {"cpu": 2.5}


def test_a_kernel_without_pressure_says_nothing(tmp_path: Path) -> None:
    """Every failure counts there."""
    assert waited(tmp_path) == {}
    assert Stopwatch(lambda: waited(tmp_path)).pressure() == 0.0
