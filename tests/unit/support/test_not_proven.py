"""What happens to a test of timing on a machine that is too busy."""

import os
from pathlib import Path

import pytest

from support import not_proven
from support.not_proven import TICKS, Stopwatch, used_by_others, waited

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


def stat_of(proc: Path, pid: int, ticks: int, children: str = "") -> None:
    """Write what proc(5) says of a process that used this much, and as much by dead children."""
    task = proc / str(pid) / "task" / str(pid)
    task.mkdir(parents=True)
    fields = " ".join(["S", *["0"] * 10, str(ticks), "0", str(ticks), "0", "20"])
    (proc / str(pid) / "stat").write_text(f"{pid} (a ) b) {fields}\n")
    (task / "children").write_text(children)


def test_what_a_test_uses_itself_is_no_load_by_others(tmp_path: Path) -> None:
    """A flood must not excuse what it does to the daemon; the load of other suites does."""
    (tmp_path / "stat").write_text("cpu 600 100 50 9999 9999 20 20 10 70 0\ncpu0 1 1 1 1\n")
    stat_of(tmp_path, os.getpid(), 50, "71 72 73 ")
    stat_of(tmp_path, 71, 100, "74 ")
    stat_of(tmp_path, 72, 50)
    stat_of(tmp_path, 74, 50)
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "io").write_text("some avg10=0.00 total=3000000\n")
    shares = 300 / TICKS / (os.cpu_count() or 1)
    assert used_by_others(tmp_path) == {"cpu": pytest.approx(shares), "io": 3.0}
