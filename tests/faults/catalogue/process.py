"""Faults of the daemon's process: killed, stopped, and short of the host's resources."""

import asyncio
import os
import random
import resource
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from faults.catalogue.files import FILE, stopped_and_started
from faults.rig.fault import LONG, Fault, Length, Setting
from faults.rig.scene import Scene
from faults.rig.timing import LIFETIME
from faults.verdicts.verdict import MOST_ALIVE

ALONE = Setting(alone=True)

DOZENS = Length("dozens", 30.0)

LOG_PIPE = "log.pipe"

SCRIPT = 'for config; do :; done; cd "${config%/*}"; [ -p $0 ] || mkfifo $0; exec "$@" 2<>$0'

PIPED = Setting(alone=True, wrapper=("sh", "-ec", SCRIPT, LOG_PIPE))
"""Sends the log to a pipe beside the configuration, whose path is the last argument."""


@asynccontextmanager
async def _killed(scene: Scene) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        kills = tasks.create_task(_kill_again_and_again(scene))
        yield
        kills.cancel()
    if not scene.daemon.alive:
        await scene.daemon.start()
    await asyncio.sleep(LIFETIME)
    alive = len(scene.dsm.sessions.live(scene.app))
    if alive > MOST_ALIVE:
        scene.remarks.append(f"{alive} sessions a lifetime later")


async def _kill_again_and_again(scene: Scene) -> None:
    """Kill and restart the daemon, at any moment up to a second after a new token."""
    rng = random.Random(scene.name)  # noqa: S311  # reproducible, not secret
    tokens = len(scene.dsm.sessions.tokens(scene.app))
    while True:
        if rng.random() < 0.7:
            await _another_token(scene)
            await asyncio.sleep(rng.uniform(0.0, 0.1))
        else:
            await asyncio.sleep(rng.uniform(0.0, 1.0))
        await scene.daemon.kill()
        known, tokens = tokens, len(scene.dsm.sessions.tokens(scene.app))
        scene.gate.lost += [time.monotonic()] * (tokens - known)
        await scene.daemon.start()


@asynccontextmanager
async def _log_stalled(scene: Scene) -> AsyncIterator[None]:
    """Fill the pipe, stop the daemon that writes to it, and start it again."""
    pipe = os.open(scene.directory / LOG_PIPE, os.O_RDWR | os.O_NONBLOCK)
    try:
        with suppress(BlockingIOError):
            while True:
                os.write(pipe, b"x")
        async with stopped_and_started(scene):
            yield
        await scene.daemon.start()
        with suppress(BlockingIOError):
            while True:
                os.read(pipe, 65536)
    finally:
        os.close(pipe)


async def _another_token(scene: Scene) -> None:
    known = len(scene.dsm.sessions.tokens(scene.app))
    await scene.until(lambda: len(scene.dsm.sessions.tokens(scene.app)) > known, 5.0)


@asynccontextmanager
async def _stopped(scene: Scene) -> AsyncIterator[None]:
    scene.daemon.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        scene.daemon.signal(signal.SIGCONT)


@asynccontextmanager
async def _no_descriptors(scene: Scene) -> AsyncIterator[None]:
    used = len(list(Path(f"/proc/{scene.daemon.pid}/fd").iterdir()))
    async with _limited(scene, resource.RLIMIT_NOFILE, used):
        yield


@asynccontextmanager
async def _no_memory(scene: Scene) -> AsyncIterator[None]:
    pages = int(Path(f"/proc/{scene.daemon.pid}/statm").read_text().split()[0])
    async with _limited(scene, resource.RLIMIT_AS, pages * resource.getpagesize()):
        yield


@asynccontextmanager
async def _limited(scene: Scene, limit: int, most: int) -> AsyncIterator[None]:
    before = resource.prlimit(scene.daemon.pid, limit)
    resource.prlimit(scene.daemon.pid, limit, (most, before[1]))
    yield
    resource.prlimit(scene.daemon.pid, limit, before)


FAULTS = (
    Fault(
        "log-stalled",
        "nobody reads the log, and its pipe is full",
        _log_stalled,
        setting=PIPED,
        lengths=(LONG,),
        may_cut_connections=True,
        may_lack_token=True,
    ),
    Fault(
        "killed",
        "the daemon is killed at random instants, and started again",
        _killed,
        setting=ALONE,
        lengths=(DOZENS,),
        may_cut_connections=True,
        may_lack_token=True,
        recovery=30.0,
    ),
    Fault(
        "stopped",
        "the process is stopped for longer than a session lives",
        _stopped,
        frozenset({"session_lost"}),
        ALONE,
        lengths=(LONG,),
        may_pass_unnoticed=True,
        blinds_suite=True,
        may_cut_connections=True,
        stuck=FILE,
    ),
    Fault(
        "descriptors-none",
        "the process has no descriptors left",
        _no_descriptors,
        frozenset({"connect", "credential"}),
        ALONE,
        lengths=(LONG,),
        may_pass_unnoticed=True,
        blinds_suite=True,
        may_cut_connections=True,
        stuck=FILE,
    ),
    Fault(
        "memory-none",
        "the process gets no more memory",
        _no_memory,
        setting=ALONE,
        lengths=(LONG,),
        may_cut_connections=True,
        stuck=FILE,
    ),
)
