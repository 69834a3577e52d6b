"""Lets faults happen to the installed daemon, and writes what came of them as a table.

Every fault happens once, briefly and for long, which takes a minute or two. `--soak` has them
happen at random for as long as you like, and prints what breaks a promise as it happens.
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
    """Run what was asked for; return 1 if a promise was broken."""
    options = _options()
    faults = [fault for fault in chosen(options.name) if not missing(fault.setting)]
    verdicts: list[Verdict] = []

    def tell(verdict: Verdict) -> None:
        verdicts.append(verdict)
        if verdict.broken:
            print(table([verdict], heading=False), end="", file=sys.stderr, flush=True)

    if options.soak is None:
        asyncio.run(run(faults, tell))
    else:
        print(f"seed {options.seed}", file=sys.stderr)
        asyncio.run(soak(faults, options.soak, random.Random(options.seed), tell))  # noqa: S311  # to be repeated, not secret
    options.output.write(table(verdicts) + table([total(verdicts)], heading=False))
    return int(any(verdict.broken for verdict in verdicts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("name", nargs="*", help=", ".join(names))
    parser.add_argument("--soak", type=_seconds, metavar="TIME", help="such as 90s, 20m or 1h")
    parser.add_argument("--seed", type=int, default=random.getrandbits(32), help="of --soak")
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
