"""What `refresherd token` costs, as ratios to an idle Python and to curl.

Usage: python tests/bench/run.py token

Processor time first, which hardly feels what else the machine does, and then time as it passes.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import stage
from bench.report import wide_heading, wide_row
from support.programs import REFRESHERD, Workplace, emulator, eventually, running

ROUNDS = 30

MEASURES: Mapping[str, Callable[["Cost"], float]] = {
    "CPU time": lambda cost: cost.cpu,
    "time": lambda cost: cost.time,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time and wall time of one run, in ms."""

    cpu: float
    time: float


def cost(line: list[str]) -> Cost:
    """Run a command once."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, timeout=10)
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu * 1e3, took * 1e3)


def compare(socket: Path) -> None:
    """Run the commands in turn; print our ratios to the others, and all medians."""
    url = "http://localhost/v1/apps/payments/token?format=raw"
    ours = "refresherd token"
    lines = {
        ours: [REFRESHERD, "token", "payments", "--socket", str(socket)],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    if stage.found("curl"):
        lines["curl"] = ["curl", "--silent", "--unix-socket", str(socket), url]
    costs: dict[str, list[Cost]] = {name: [] for name in lines}
    for _ in range(ROUNDS):
        for name, line in lines.items():
            costs[name].append(cost(line))
    beside = list(lines)[1:]
    wide_heading(f"A token on the command line: {ours} to …", beside)
    for measure, of in MEASURES.items():
        wide_row(measure, (f"{_ratio(of, costs[ours], costs[name]):.2f}" for name in beside))
    wide_row("aim", ["4.00"])
    wide_heading("The same in figures", lines)
    for measure, of in MEASURES.items():
        wide_row(f"{measure}, ms", (f"{median(map(of, runs)):.1f}" for runs in costs.values()))


def _ratio(of: Callable[[Cost], float], ours: list[Cost], theirs: list[Cost]) -> float:
    return median(of(our) / of(their) for our, their in zip(ours, theirs, strict=True))


def main() -> None:
    """Ask a real daemon with one app of an emulated DSM."""
    os.environ.pop("REFRESHERD_SOCKET", None)
    with tempfile.TemporaryDirectory() as name, emulator("--lifetime", "600") as dsm:
        place = Path(name)
        workplace = Workplace(place, dsm)
        workplace.app("payments", f'[[apps.payments.files]]\npath = "{place}/token"\n')
        with running("run", "--config", str(workplace.write())):
            eventually(place / "token")
            compare(place / "api.sock")


if __name__ == "__main__":
    main()
