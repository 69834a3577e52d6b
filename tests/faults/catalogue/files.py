"""Faults of a token file's disk and directory, and of things put in the file's place."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from faults.rig.disks import command, mounted, server_of
from faults.rig.fault import BRIEF, LONG, Disk, During, Fault, Setting
from faults.rig.readers import Output
from faults.rig.scene import Scene
from faults.rig.timing import HEAD

BARE_ROOT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Starts the daemon so that modes and owners bind even root."""

ON_DISK = Setting(disk=Disk.OWN, wrapper=BARE_ROOT)
IN_MEMORY = Setting(disk=Disk.MEMORY, wrapper=BARE_ROOT)
PASSED_ON = Setting(disk=Disk.FUSE, wrapper=BARE_ROOT)
TWINS = Setting(disk=Disk.OWN, wrapper=BARE_ROOT, twin=True)
STOPPED_IN_A_HANG = Setting(disk=Disk.FUSE, alone=True)

BOOTSTRAP = 'token_file = "{name}.bootstrap"'

FILE = frozenset({Output.FILE})

FAILED = "output failed"

NOBODY = 65534

STOP_SECONDS = 5.0
"""Seconds within which a daemon has to stop, whatever hangs."""


@asynccontextmanager
async def _full(scene: Scene) -> AsyncIterator[None]:
    ballast = scene.home / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    yield
    ballast.unlink()


@asynccontextmanager
async def _full_and_killed(scene: Scene) -> AsyncIterator[None]:
    """Kill the daemon while its disk is full: the next run needs what was stored before."""
    async with _full(scene):
        yield
        await scene.daemon.kill()
        scene.gate.lost += [time.monotonic()] * len(scene.dsm.sessions.live(scene.app))
    await scene.daemon.start()


@asynccontextmanager
async def _no_inodes(scene: Scene) -> AsyncIterator[None]:
    ballast: list[Path] = []
    with suppress(OSError):
        while True:
            path = scene.home / f"ballast-{len(ballast)}"
            path.touch()
            ballast.append(path)
    yield
    for path in ballast:
        path.unlink()


@asynccontextmanager
async def _read_only(scene: Scene) -> AsyncIterator[None]:
    await command("mount", "-o", "remount,ro", str(scene.home))
    yield
    await command("mount", "-o", "remount,rw", str(scene.home))


@asynccontextmanager
async def _removed(scene: Scene) -> AsyncIterator[None]:
    scene.remove_home()
    yield
    scene.home.mkdir()


@asynccontextmanager
async def _recreated(scene: Scene) -> AsyncIterator[None]:
    scene.remove_home()
    scene.home.mkdir()
    yield


@asynccontextmanager
async def _forbidden(scene: Scene) -> AsyncIterator[None]:
    scene.home.chmod(0o500)
    yield
    scene.home.chmod(0o700)


@asynccontextmanager
async def _immutable(scene: Scene) -> AsyncIterator[None]:
    await command("chattr", "+i", str(scene.home))
    try:
        yield
    finally:
        await command("chattr", "-i", str(scene.home))


@asynccontextmanager
async def _state_immutable(scene: Scene) -> AsyncIterator[None]:
    state = str(scene.session_file.parent)
    async with _immutable(scene):
        await command("chattr", "+i", state)
        try:
            yield
        finally:
            await command("chattr", "-i", state)


@asynccontextmanager
async def _linked(scene: Scene) -> AsyncIterator[None]:
    """Lead the file's directory to that of the app's other file, which has the same name."""
    away = scene.home.with_suffix(".away")
    scene.home.rename(away)
    scene.home.symlink_to(scene.twin)
    yield
    scene.home.unlink()
    away.rename(scene.home)


@asynccontextmanager
async def _bound(scene: Scene) -> AsyncIterator[None]:
    async with mounted("--bind", str(scene.twin), place=scene.home):
        yield


@asynccontextmanager
async def _session_planted(scene: Scene) -> AsyncIterator[None]:
    """Put another user's session in the place of the app's while the daemon does not run."""
    await scene.daemon.kill()
    scene.gate.lost += [time.monotonic()] * len(scene.dsm.sessions.live(scene.app))
    planted = "planted" * 12
    record = {"endpoint": scene.endpoint, "access_token": planted, "bootstrap_sha256": ""}
    scene.session_file.write_text(json.dumps(record))
    os.chown(scene.session_file, NOBODY, NOBODY)
    began = scene.daemon.log.stat().st_size
    await scene.daemon.start()
    yield
    if b"is not used and will be replaced" not in scene.daemon.log.read_bytes()[began:]:
        scene.remarks.append("nothing was said of the planted session")
    scene.bootstrap.write_text(scene.dsm.sessions.open(scene.app).token)


@asynccontextmanager
async def _directory(scene: Scene) -> AsyncIterator[None]:
    scene.file.unlink()
    (scene.file / "full").mkdir(parents=True)
    yield
    shutil.rmtree(scene.file)


@asynccontextmanager
async def _link(scene: Scene) -> AsyncIterator[None]:
    """Plant a symbolic link in the file's place, and one named like a temporary file."""
    victim = scene.directory / f"{scene.name}.victim"
    victim.write_bytes(scene.file.read_bytes())
    content = victim.read_bytes()
    for place in (scene.file, scene.home / f".{scene.file.name}.0123456789abcdef.tmp"):
        place.unlink(missing_ok=True)
        place.symlink_to(victim)
    yield
    if victim.read_bytes() != content:
        scene.remarks.append("the target of a planted link was written to")


@asynccontextmanager
async def _pipe(scene: Scene) -> AsyncIterator[None]:
    scene.file.unlink()
    os.mkfifo(scene.file)
    yield


@asynccontextmanager
async def _mount_point(scene: Scene) -> AsyncIterator[None]:
    async with mounted("--bind", str(scene.file), place=scene.file):
        yield


@asynccontextmanager
async def _hanging(scene: Scene) -> AsyncIterator[None]:
    server = server_of(scene.home)
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


@asynccontextmanager
async def stopped_and_started(scene: Scene) -> AsyncIterator[None]:
    """Run the block, then stop the daemon, which must not take long."""
    yield
    began = time.monotonic()
    status = await scene.daemon.stop()
    took = time.monotonic() - began
    if status != 0 or took > STOP_SECONDS:
        scene.remarks.append(f"a stop took {took:.1f} s, status {status}")


@asynccontextmanager
async def _stopped_in_a_hang(scene: Scene) -> AsyncIterator[None]:
    async with _hanging(scene):
        async with stopped_and_started(scene):
            yield
        await asyncio.sleep(0)
    await scene.daemon.start()


def _kept(name: str, disk: Disk = Disk.MEMORY) -> Setting:
    """Return the setting of an app without an API key, whose session is stored on the same disk."""
    head = f'state_dir = "{name}.d/state"\n{HEAD}'
    return Setting(disk=disk, key=BOOTSTRAP, alone=True, head=head)


def _stuck(name: str, breaks: str, during: During, setting: Setting = ON_DISK) -> Fault:
    return Fault(name, breaks, during, setting=setting, logs=FAILED, stuck=FILE)


def _disrupted(name: str, breaks: str, during: During, logs: str = FAILED) -> Fault:
    return Fault(name, breaks, during, setting=ON_DISK, logs=logs, disrupted=FILE)


FAULTS = (
    _stuck("disk-full", "the disk is full", _full, IN_MEMORY),
    _stuck("disk-inodes", "the disk has no inodes", _no_inodes, IN_MEMORY),
    _stuck("disk-read-only", "the disk is read-only", _read_only, IN_MEMORY),
    Fault(
        "disk-hanging",
        "the disk hangs",
        _hanging,
        setting=PASSED_ON,
        lengths=(LONG,),
        logs=FAILED,
        disrupted=FILE,
    ),
    Fault(
        "disk-hanging-stop",
        "the daemon is stopped while the disk hangs, and started after it",
        _stopped_in_a_hang,
        setting=STOPPED_IN_A_HANG,
        lengths=(LONG,),
        disrupted=FILE,
        may_cut_connections=True,
        may_lack_token=True,
    ),
    _stuck("state-full", "the disk of `state_dir` is full", _full, _kept("state-full")),
    Fault(
        "state-immutable",
        "`state_dir` may not be written to",
        _state_immutable,
        setting=_kept("state-immutable", Disk.OWN),
        lengths=(LONG,),
        logs=FAILED,
        stuck=FILE,
    ),
    Fault(
        "state-full-killed",
        "the daemon is killed while the disk of `state_dir` is full",
        _full_and_killed,
        setting=_kept("state-full-killed"),
        lengths=(BRIEF,),
        logs=FAILED,
        stuck=FILE,
        may_cut_connections=True,
        may_lack_token=True,
    ),
    _stuck("directory-forbidden", "the directory may not be written to", _forbidden),
    _stuck("directory-immutable", "the directory is immutable", _immutable),
    _disrupted("directory-removed", "the directory is removed", _removed),
    _disrupted(
        "directory-recreated", "the directory is removed and created again", _recreated, logs=""
    ),
    _disrupted("target-directory", "a directory is in the file's place", _directory),
    _disrupted("target-link", "a symbolic link is in the file's place", _link, logs=""),
    _disrupted("target-pipe", "a pipe is in the file's place", _pipe, logs=""),
    _stuck("directory-linked", "a link leads to another output's directory", _linked, TWINS),
    _stuck("directory-bound", "another output's directory is mounted", _bound, TWINS),
    Fault(
        "session-planted",
        "another user's session is in the place of the app's, and the daemon is started",
        _session_planted,
        frozenset({"session_lost", "rejected", "credential"}),
        setting=_kept("session-planted", Disk.OWN),
        lengths=(BRIEF,),
        may_cut_connections=True,
        may_lack_token=True,
        may_pass_unnoticed=True,
    ),
    _stuck("target-mounted", "something is mounted over the file", _mount_point),
)
