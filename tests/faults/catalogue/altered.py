"""What somebody else does to an app's files and sockets, which the daemon looks after."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from faults.catalogue.files import BARE_ROOT
from faults.rig.fault import BRIEF, Disk, During, Fault, Setting
from faults.rig.readers import Output
from faults.rig.scene import Scene
from faults.rig.timing import LIFETIME

HOST = Setting(disk=Disk.OWN, wrapper=BARE_ROOT)

ALTERED = "output altered"

NOTICED_WITHIN = 10.0
"""Seconds within which the daemon has to notice."""

FRESH = 0.1
"""The share of its life below which a token is new: no refresh makes the damage good soon."""


def _altering(alter: Callable[[Scene], object]) -> During:
    """Return a fault that is an alteration between two refreshes, and its discovery."""

    @asynccontextmanager
    async def during(scene: Scene) -> AsyncIterator[None]:
        await scene.until(lambda: 0 <= scene.age() < FRESH, LIFETIME)
        before = _times_noticed(scene)
        alter(scene)
        if await scene.until(lambda: _times_noticed(scene) > before, NOTICED_WITHIN) is None:
            scene.remarks.append("the alteration was not noticed")
        yield

    return during


def _times_noticed(scene: Scene) -> int:
    return sum(one.get("app") == scene.name for one in scene.daemon.logged(ALTERED))


def _replace(path: Path, content: str) -> None:
    other = path.with_name(f"{path.name}.other")
    other.write_text(content)
    other.rename(path)


@asynccontextmanager
async def _contested(scene: Scene) -> AsyncIterator[None]:
    """Put another file in the path's place again and again, as a second daemon does."""

    async def fight() -> None:
        while True:
            _replace(scene.file, "another daemon's token")
            await asyncio.sleep(0.3)

    before = _times_noticed(scene)
    fighting = asyncio.create_task(fight())
    if await scene.until(lambda: not scene.figures.ready, NOTICED_WITHIN) is None:
        scene.remarks.append("the loser of the fight counts as ready")
    yield
    fighting.cancel()
    if _times_noticed(scene) - before > LIFETIME:
        scene.remarks.append("the daemon fights at full speed")


def _fault(name: str, breaks: str, alter: Callable[[Scene], object], output: Output) -> Fault:
    return Fault(
        name,
        breaks,
        _altering(alter),
        setting=HOST,
        lengths=(BRIEF,),
        logs=ALTERED,
        disrupted=frozenset({output}),
        foreign=frozenset({output}),
    )


FAULTS = (
    _fault(
        "file-removed",
        "somebody removes the file",
        lambda scene: scene.file.unlink(),
        Output.FILE,
    ),
    _fault(
        "file-replaced",
        "somebody puts another file in the file's place",
        lambda scene: _replace(scene.file, "another program's"),
        Output.FILE,
    ),
    _fault(
        "file-overwritten",
        "somebody overwrites the file",
        lambda scene: scene.file.write_text("another program's"),
        Output.FILE,
    ),
    _fault(
        "file-emptied",
        "somebody empties the file",
        lambda scene: os.truncate(scene.file, 0),
        Output.FILE,
    ),
    _fault(
        "file-readable",
        "somebody lets everybody read the file",
        lambda scene: scene.file.chmod(0o644),
        Output.FILE,
    ),
    _fault(
        "socket-connectable",
        "somebody lets everybody connect to the app's socket",
        lambda scene: scene.socket.chmod(0o666),
        Output.SOCKET,
    ),
    Fault(
        "file-contested",
        "another program replaces the file again and again",
        _contested,
        setting=HOST,
        lengths=(BRIEF,),
        logs=ALTERED,
        disrupted=frozenset({Output.FILE}),
        foreign=frozenset({Output.FILE}),
    ),
)
