"""Lets faults happen to the installed daemon, and prints the verdicts as a table.

Each fault happens once briefly and once for long, which takes a minute or two in all. With
`--soak` faults happen at random for a given time, and broken promises are printed at once.
"""

import argparse
import asyncio
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.catalogue.all_faults import FAULTS, chosen
from faults.rig.parts import missing
from faults.rig.suite import run, soak
from faults.verdicts.table import table, total
from faults.verdicts.verdict import Verdict

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def main() -> int:
    """Run the selected faults; return 1 if a promise was broken."""
    options = _options()
    faults = [fault for fault in chosen(options.name) if not missing(fault.setting)]
    verdicts: list[Verdict] = []

    def report(verdict: Verdict) -> None:
        verdicts.append(verdict)
        if verdict.broken:
            print(table([verdict], heading=False), end="", file=sys.stderr, flush=True)

    if options.soak is None:
        asyncio.run(run(faults, report))
    else:
        print(f"seed {options.seed}", file=sys.stderr)
        asyncio.run(soak(faults, options.soak, random.Random(options.seed), report))  # noqa: S311  # reproducible, not secret
    options.output.write(table(verdicts) + table([total(verdicts)], heading=False))
    return int(any(verdict.broken for verdict in verdicts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("name", nargs="*", help=", ".join(names))
    parser.add_argument("--soak", type=_seconds, metavar="TIME", help="such as 90s, 20m or 1h")
    parser.add_argument("--seed", type=int, default=random.getrandbits(32), help="repeats a --soak")
    parser.add_argument("--output", type=argparse.FileType("w"), default=sys.stdout)
    options = parser.parse_args()
    if unknown := set(options.name) - set(names):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    options.name = options.name or names
    return options


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9.]+)([smhd]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError("a number and s, m, h or d")
    return float(found[1]) * UNITS[found[2]]


if __name__ == "__main__":
    sys.exit(main())
