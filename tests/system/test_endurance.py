"""The daemon's descriptors, threads and memory do not grow with its work."""

from pathlib import Path

from support.endurance import Enduring
from support.programs import emulator

MEBIBYTE = 1024
MOST_IN_FLIGHT = 32


def test_refreshes_and_reloads_leave_nothing_behind(tmp_path: Path) -> None:
    """A daemon that runs for years must not run out of descriptors, threads or memory.

    A short form of `tests/bench/run.py endurance`.
    """
    with emulator("--lifetime", "600") as dsm:
        first, *_, last = Enduring(tmp_path, dsm, apps=20).endure(refreshes=400, reloads=20)
    # A client of the API may be on its way out.
    assert last.descriptors <= first.descriptors + 2
    assert last.connections <= MOST_IN_FLIGHT
    assert last.threads <= first.threads + 1
    assert last.resident <= first.resident + 8 * MEBIBYTE
