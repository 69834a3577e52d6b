"""What the host lacks when the daemon starts, and what comes while it runs."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.files import FAILED, FILE
from faults.catalogue.places import CREDENTIAL
from faults.rig.disks import server_of
from faults.rig.fault import LONG, Disk, During, Fault, Setting
from faults.rig.reasons import TLS
from faults.rig.scene import Scene


async def _restart(scene: Scene) -> None:
    """Start the daemon again: it has no session, and must not refuse its configuration."""
    await scene.daemon.stop()
    await scene.daemon.start()
    await scene.daemon.listening()


@asynccontextmanager
async def _key_late(scene: Scene) -> AsyncIterator[None]:
    scene.key_file.unlink()
    await _restart(scene)
    yield
    # A key that somebody writes in two steps: the first half must not be sent.
    scene.key_file.touch(mode=0o600)
    scene.key_file.write_text(scene.app.api_key[:40])
    scene.key_file.write_text(scene.app.api_key)


@asynccontextmanager
async def _authority_late(scene: Scene) -> AsyncIterator[None]:
    scene.ca_file.unlink()
    await _restart(scene)
    yield
    scene.trust()


@asynccontextmanager
async def _directory_late(scene: Scene) -> AsyncIterator[None]:
    scene.remove_home()
    await _restart(scene)
    yield
    scene.home.mkdir()


@asynccontextmanager
async def _hanging(scene: Scene) -> AsyncIterator[None]:
    server = server_of(scene.home)
    os.kill(server, signal.SIGSTOP)
    try:
        await _restart(scene)
        yield
    finally:
        os.kill(server, signal.SIGCONT)


def _late(
    name: str,
    breaks: str,
    during: During,
    reasons: frozenset[str],
    setting: Setting,
) -> Fault:
    return Fault(
        name,
        breaks,
        during,
        reasons,
        setting,
        lengths=(LONG,),
        may_lack_token=True,
        may_cut_connections=True,
    )


FAULTS = (
    _late(
        "key-late",
        "the daemon starts without the key file, which comes later",
        _key_late,
        CREDENTIAL,
        Setting(alone=True),
    ),
    _late(
        "ca-late",
        "the daemon starts without the CA file, which comes later",
        _authority_late,
        TLS,
        Setting(alone=True, tls=True),
    ),
    Fault(
        "directory-late",
        "the daemon starts without the file's directory, which comes later",
        _directory_late,
        setting=Setting(alone=True, disk=Disk.OWN),
        lengths=(LONG,),
        logs=FAILED,
        disrupted=FILE,
        may_lack_token=True,
        may_cut_connections=True,
    ),
    Fault(
        "disk-hanging-start",
        "the daemon starts while the disk of a file hangs",
        _hanging,
        setting=Setting(alone=True, disk=Disk.FUSE),
        lengths=(LONG,),
        logs=FAILED,
        disrupted=FILE,
        may_lack_token=True,
        may_cut_connections=True,
    ),
)
