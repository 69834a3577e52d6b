"""Questions about processes that the code under test started."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path


async def until(condition: Callable[[], bool]) -> None:
    """Return once a condition holds that another process fulfils."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # no event tells of other processes
            await asyncio.sleep(0.01)


def over(pid: int) -> bool:
    """Return whether a process has ended, and has been reaped if it was our child."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z" and int(parent) != os.getpid()


def pids(path: Path) -> list[int]:
    """Return the process ids in a file that a script writes; none before its line is whole."""
    text = path.read_text() if path.exists() else ""
    return [int(pid) for pid in text.split()] if text.endswith("\n") else []
