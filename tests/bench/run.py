"""Runs the benchmarks one after the other, each in its own process, in some two minutes.

Usage: python tests/bench/run.py [NAME…]

Without a name all of BENCHMARKS run; those of LONG only by name. What is printed are medians of
interleaved rounds; the ratios carry over to other machines, the figures do not.
"""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    *("refresh", "memory", "start", "crowd", "schedule", "token", "peers", "busy", "pages"),
)
LONG = ("endurance", "scrape")

TESTS = Path(__file__).parents[1]


def main() -> int:
    """Run the selected benchmarks; return how many failed."""
    names = sys.argv[1:] or BENCHMARKS
    if unknown := set(names).difference(BENCHMARKS, LONG):
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(BENCHMARKS + LONG)}")
        return 64
    # The modules find each other from the directory that they are run in.
    runs = [
        subprocess.run([sys.executable, "-m", f"bench.bench_{name}"], cwd=TESTS, check=False)
        for name in names
    ]
    return sum(run.returncode != 0 for run in runs)


if __name__ == "__main__":
    sys.exit(main())
