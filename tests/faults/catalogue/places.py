"""Faults of sockets, credentials and pid files: their paths change while the daemon runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.files import BARE_ROOT, FAILED
from faults.rig.fault import BRIEF, LONG, Disk, During, Fault, Setting
from faults.rig.readers import Output
from faults.rig.scene import Scene

SOCKET = frozenset({Output.SOCKET})
API = frozenset({Output.API})
CREDENTIAL = frozenset({"credential"})

HOST = Setting(disk=Disk.OWN, wrapper=BARE_ROOT)
LOGIN = Setting(disk=Disk.OWN, wrapper=BARE_ROOT, app='renew = "auth"')
ALONE = Setting(alone=True)

SCRIPT = "cat $0.key; test ! -e $0.hang || sleep 1000"

COMMAND = f'api_key_command = ["sh", "-c", "{SCRIPT}", "{{directory}}/{{name}}"]'

ASKING = Setting(disk=Disk.OWN, wrapper=BARE_ROOT, key=COMMAND, app='renew = "auth"')


PID_FILE = "late.pid"

HOOKED = Setting(app=f'hooks = [{{ signal = "HUP", pid_file = "{PID_FILE}" }}]')

SERVICE = f"""
trap 'touch late.reloaded' HUP
echo $$ >{PID_FILE}
while :; do sleep 0.1; done
"""
"""A service with a pid file, which it writes once it can be signalled."""


@asynccontextmanager
async def _socket_removed(scene: Scene) -> AsyncIterator[None]:
    scene.socket.unlink()
    yield


@asynccontextmanager
async def _socket_replaced(scene: Scene) -> AsyncIterator[None]:
    scene.socket.unlink()
    scene.socket.touch()
    yield
    scene.socket.unlink()


@asynccontextmanager
async def _api_removed(scene: Scene) -> AsyncIterator[None]:
    scene.api.unlink(missing_ok=True)
    yield


@asynccontextmanager
async def _api_replaced(scene: Scene) -> AsyncIterator[None]:
    scene.api.unlink(missing_ok=True)
    scene.api.touch()
    yield
    scene.api.unlink()


@asynccontextmanager
async def _key_removed(scene: Scene) -> AsyncIterator[None]:
    key = scene.key_file.read_text()
    scene.key_file.unlink()
    yield
    scene.key_file.touch(mode=0o600)
    scene.key_file.write_text(key)


@asynccontextmanager
async def _key_unreadable(scene: Scene) -> AsyncIterator[None]:
    scene.key_file.chmod(0)
    yield
    scene.key_file.chmod(0o600)


@asynccontextmanager
async def _key_cut(scene: Scene) -> AsyncIterator[None]:
    key = scene.key_file.read_text()
    scene.key_file.write_text("")
    yield
    scene.key_file.write_text(key)


@asynccontextmanager
async def _command_hanging(scene: Scene) -> AsyncIterator[None]:
    hang = scene.directory / f"{scene.name}.hang"
    hang.touch()
    yield
    hang.unlink()


@asynccontextmanager
async def _pid_file_late(scene: Scene) -> AsyncIterator[None]:
    """Start the service of a hook only when the token that the hook tells it of is there."""
    reloaded = scene.directory / "late.reloaded"
    reloaded.unlink(missing_ok=True)
    yield
    service = await asyncio.create_subprocess_exec("sh", "-c", SERVICE, cwd=scene.directory)
    if await scene.until(reloaded.exists, 5.0) is None:
        scene.remarks.append("the service was not told of the token")
    service.kill()
    await service.wait()


@asynccontextmanager
async def _nothing(_: Scene) -> AsyncIterator[None]:
    yield


def _key(name: str, breaks: str, during: During) -> Fault:
    return Fault(name, breaks, during, CREDENTIAL, LOGIN)


FAULTS = (
    Fault(
        "socket-removed",
        "the app's socket is removed",
        _socket_removed,
        setting=HOST,
        disrupted=SOCKET,
    ),
    Fault(
        "socket-replaced",
        "something else is in the socket's place",
        _socket_replaced,
        setting=HOST,
        logs=FAILED,
        disrupted=SOCKET,
    ),
    Fault(
        "api-removed",
        "the API's socket is removed",
        _api_removed,
        setting=ALONE,
        lengths=(BRIEF,),
        disrupted=API,
    ),
    Fault(
        "api-replaced",
        "something else is in the API socket's place",
        _api_replaced,
        setting=ALONE,
        lengths=(LONG,),
        disrupted=API,
    ),
    _key("key-removed", "the key file is removed, and comes back", _key_removed),
    _key("key-unreadable", "the key file may not be read", _key_unreadable),
    _key("key-empty", "the key file is empty", _key_cut),
    Fault(
        "command-hanging",
        "the command that prints the key hangs",
        _command_hanging,
        frozenset({"timeout", "credential"}),
        ASKING,
    ),
    Fault(
        "pid-file-late",
        "a hook's service has no pid file yet",
        _pid_file_late,
        setting=HOOKED,
        lengths=(BRIEF,),
    ),
    Fault(
        "host-neighbours",
        "other apps' files, sockets and keys are in trouble",
        _nothing,
        setting=HOST,
        lengths=(LONG,),
    ),
)
