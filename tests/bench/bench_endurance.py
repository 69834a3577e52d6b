"""What the daemon's process uses after ten thousand refreshes and a thousand reloads.

Usage: python tests/bench/run.py endurance

It takes some minutes. Each line is a fifth of the whole further on; what counts is that the
columns do not grow.
"""

from bench import stage
from bench.report import wide_heading, wide_row
from support.endurance import Enduring
from support.programs import emulator

APPS = 20
REFRESHES = 10_000
RELOADS = 1_000


def main() -> None:
    """Measure and print."""
    with stage.directory() as place, emulator("--lifetime", "600") as dsm:
        parts = Enduring(place, dsm, APPS).endure(REFRESHES, RELOADS)
    wide_heading("Endurance", ["descriptors", "connections", "threads", "VmRSS, KiB"])
    for number, held in enumerate(parts, start=1):
        done = number / len(parts)
        what = f"{done * REFRESHES:,.0f} refreshes, {done * RELOADS:,.0f} reloads"
        figures = (held.descriptors, held.connections, held.threads, held.resident)
        wide_row(what, [f"{figure:,}" for figure in figures])


if __name__ == "__main__":
    main()
