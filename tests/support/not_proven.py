"""Tests that judge timing: on a machine that is too busy they prove nothing and are repeated.

A pytest plugin. A test with the marker `timing` that fails while something on the machine kept
waiting for a processor or a disk is run again, up to `TRIES` times in all. If the machine stays
that busy, the test is skipped as "not proven": it never fails for slowness alone. Where the
kernel does not measure pressure (`/proc/pressure`), every failure counts.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

TRIES = 3

BUSY = 0.3
"""The share of a time in which something waited, from which on the time proves nothing."""

REASON = "not proven: the machine was too busy to judge timing"

PRESSURE = Path("/proc/pressure")

PROC = Path("/proc")

TICKS = os.sysconf("SC_CLK_TCK")

Waited = Callable[[], Mapping[str, float]]
"""Returns for how many seconds since boot something has waited, by resource."""


def waited(pressure: Path = PRESSURE) -> Mapping[str, float]:
    """Return the seconds since boot in which at least one task waited, by resource.

    It is the `total` of the `some` line in the kernel's Documentation/accounting/psi.rst. Empty
    where the kernel does not measure it.
    """
    found = {}
    for resource in ("cpu", "io"):
        try:
            some = (pressure / resource).read_text().splitlines()[0]
        except OSError:
            continue
        found[resource] = int(some.rpartition("total=")[2]) / 1e6
    return found


def used_by_others(proc: Path = PROC) -> Mapping[str, float]:
    """Return the seconds since boot in which other processes kept the processors busy.

    All but this process and its descendants are others. An hour of one of two processors is half
    an hour. Waiting for a disk counts as in `waited`.
    """
    user, nice, system, _, _, *interrupts = _ticks((proc / "stat").read_text().split()[1:9])
    busy = user + nice + system + sum(interrupts) - _used(proc, os.getpid())
    return {**waited(proc / "pressure"), "cpu": busy / TICKS / (os.cpu_count() or 1)}


def _used(proc: Path, pid: int) -> int:
    """Return the processor time of a process, and of its living and dead descendants."""
    here = proc / str(pid)
    try:
        # The command, in brackets, may hold spaces. Then utime to cstime, proc_pid_stat(5).
        ticks = sum(_ticks((here / "stat").read_text().rpartition(")")[2].split()[11:15]))
        lists = [task.read_text() for task in here.glob("task/*/children")]
    except OSError:  # it has ended
        return 0
    return ticks + sum(_used(proc, int(child)) for one in lists for child in one.split())


def _ticks(fields: Sequence[str]) -> list[int]:
    return [int(field) for field in fields]


class Stopwatch:
    """Measures from its making on how busy the machine is."""

    def __init__(
        self, read: Waited = waited, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._began = monotonic()
        self._before = read()

    def pressure(self) -> float:
        """Return the share of the time since then in which something waited: 0 to 1."""
        passed = self._monotonic() - self._began
        shares = (now - self._before.get(name, now) for name, now in self._read().items())
        return max(shares, default=0.0) / passed if passed > 0 else 0.0


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "timing(loads): judges timing; a busy machine proves nothing"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test that judges timing until it proves something, or `TRIES` times."""
    if item.get_closest_marker("timing") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(TRIES)):
        stopwatch = Stopwatch()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(report.failed for report in reports) or stopwatch.pressure() < BUSY:
            break
        if left == 0:
            reports = [_skipped(report, item) for report in reports]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _skipped(report: pytest.TestReport, item: pytest.Item) -> pytest.TestReport:
    if report.failed:
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, (line or 0) + 1, f"Skipped: {REASON}")
    return report
