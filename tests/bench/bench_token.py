"""What asking the daemon for a token costs, in ratios to Python doing nothing and to curl."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from programs import REFRESHERD, Workplace, emulator, eventually, running

ROUNDS = 30


def spent(line: list[str]) -> float:
    """Return the processor time of one run, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, timeout=10)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(socket: Path) -> None:
    """Run the commands in turn and print the medians and their ratios."""
    url = "http://localhost/v1/apps/payments/token?format=raw"
    lines = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "refresherd token": [REFRESHERD, "token", "payments", "--socket", str(socket)],
    }
    if shutil.which("curl"):
        lines["curl"] = ["curl", "--silent", "--unix-socket", str(socket), url]
    times: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(ROUNDS):
        for name, line in lines.items():
            times[name].append(spent(line))
    bare = median(times["python -c pass"])
    for name, runs in times.items():
        print(f"{name:<18} {1000 * median(runs):6.1f} ms CPU  {median(runs) / bare:5.2f}x")


def main() -> None:
    """Ask a real daemon that keeps one app of an emulated DSM."""
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
