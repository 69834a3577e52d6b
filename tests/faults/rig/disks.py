"""Where token files are: directories, mounts, and a filesystem whose server can be stopped."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from faults.rig.fault import Disk
from support.processes import until

ROOM = "size=64k,nr_inodes=32"

PASSED_ON = ".passed-on"
"""The suffix of the directory behind a filesystem in user space."""


@asynccontextmanager
async def on_disk(disk: Disk, place: Path) -> AsyncIterator[None]:
    """Provide a directory on a disk of that kind until the block ends."""
    place.mkdir(exist_ok=disk is Disk.SHARED)
    if disk is Disk.MEMORY:
        async with mounted("-t", "tmpfs", "-o", ROOM, "tmpfs", place=place):
            yield
    elif disk is Disk.FUSE:
        async with _passed_on(place):
            yield
    else:
        yield


@asynccontextmanager
async def mounted(*what: str, place: Path) -> AsyncIterator[None]:
    """Mount something until the block ends."""
    await command("mount", *what, str(place))
    try:
        yield
    finally:
        await command("umount", "--lazy", str(place))


@asynccontextmanager
async def _passed_on(place: Path) -> AsyncIterator[None]:
    """Show a directory through a process, which a test can stop."""
    behind = place.with_suffix(PASSED_ON)
    behind.mkdir()
    process = await asyncio.create_subprocess_exec("bindfs", "-f", str(behind), str(place))
    behind.with_suffix(".pid").write_text(str(process.pid))
    try:
        await until(place.is_mount)
        yield
    finally:
        process.send_signal(signal.SIGCONT)
        await command("umount", "--lazy", str(place))
        await process.wait()


def server_of(place: Path) -> int:
    """Return the pid of the process that serves a filesystem in user space."""
    return int(place.with_suffix(".pid").read_text())


async def command(*argv: str) -> None:
    """Run a command. Raises AssertionError if it fails."""
    process = await asyncio.create_subprocess_exec(*argv)
    assert await process.wait() == 0, argv
