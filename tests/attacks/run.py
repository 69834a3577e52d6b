"""Attacks the installed daemon, and prints what others noticed as a table."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks.catalogue import FLOODS
from attacks.stage import Outcome, target

HEADING = (
    "| flood | 20 at once: ok, <1 s, worst round | one by one | root | raw | livez | slowest"
    " | oldest file | RSS idle / most |\n|---|---|---|---|---|---|---|---|---|"
)


def row(outcome: Outcome) -> str:
    """Return an outcome as a line of the table."""
    seen = outcome.witnesses
    crowd = seen["20 at once"]
    asked = crowd.asked
    cells = [
        outcome.flood,
        f"{crowd.answered()} / {crowd.answered(1.0)} of {asked}, {crowd.fewest(1.0)}",
    ]
    cells += [
        f"{seen[name].answered()} / {seen[name].answered(1.0)} of {seen[name].asked}"
        for name in ("one by one", "root", "raw", "livez")
    ]
    slowest = max(one.slowest for one in seen.values())
    cells += [f"{slowest:.2f} s", f"{outcome.oldest:.1f} s"]
    cells.append(f"{outcome.idle >> 20} / {outcome.most >> 20} MB")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run the selected floods."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", default=[flood.name for flood in FLOODS])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--why", action="store_true")
    options = parser.parse_args()
    print(HEADING, flush=True)
    for flood in FLOODS:
        if flood.name not in options.name:
            continue
        with target(flood.apps, flood.descriptors) as daemon:
            outcome = daemon.under(flood, options.seconds)
            print(row(outcome), flush=True)
            if options.why:
                for name, one in outcome.witnesses.items():
                    for failure in sorted(one.failures)[:5]:
                        print(f"    {name}: {failure!r}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
