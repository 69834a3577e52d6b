"""The daemon as a process of its own, and its end."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE = 6.0
"""Seconds in which the daemon has to stop: it promises five."""

LAST_LINES = 12


@asynccontextmanager
async def daemon(config: Path, log: Path) -> AsyncIterator[Process]:
    """Run `refresherd run` for as long as the block lasts, its output going to `log`."""
    process = await _start(config, log)
    try:
        yield process
    finally:
        await stop(process)


def last_lines(log: Path) -> str:
    """Return the end of what the daemon logged."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])


async def stop(process: Process, patience: float = PATIENCE) -> None:
    """Have the process stop, and kill it if it has not within `patience` seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _start(config: Path, log: Path) -> Process:
    with log.open("wb") as sink:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "refresherd", "run", "--config", str(config)),
            stdin=DEVNULL,
            stdout=sink,
            stderr=sink,
            # Ctrl-C is for the demo, which stops the daemon in its turn.
            start_new_session=True,
        )
