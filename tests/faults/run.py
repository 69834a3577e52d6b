"""Lets every fault happen to the installed daemon, and prints what came of them as a table.

Usage: python tests/faults/run.py [NAME…]
"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.dsm_side import FAULTS
from faults.suite import run
from faults.table import table


def main() -> int:
    """Run what was asked for; return 1 if a promise was broken."""
    names = sys.argv[1:]
    chosen = [fault for fault in FAULTS if fault.name in names or not names]
    verdicts = asyncio.run(run(chosen))
    print(table(verdicts))
    return int(any(verdict.complaints for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
