"""Sets up a daemon with an app for each setting, and everything that the apps need."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

from faults.rig.daemon import Daemon
from faults.rig.disks import on_disk
from faults.rig.fault import Setting
from faults.rig.gate import Gate
from faults.rig.haproxy import reverse_proxy
from faults.rig.name_server import NameServer, namespace
from faults.rig.ports import held_port
from faults.rig.recorder import recording
from faults.rig.scene import Scene
from faults.rig.timing import HEAD, LIFETIME
from refresherd.emulator import Emulator, Expiry, Options
from support.dsm_loopback import Authority

NOWHERE = "http://127.0.0.1:9"
"""The endpoint of apps behind a forward proxy: only the proxy knows the way to DSM."""


@asynccontextmanager
async def stage(
    settings: Mapping[str, Setting], directory: Path
) -> AsyncIterator[Mapping[str, Scene]]:
    """Run a daemon with an app and consumers for each setting until the block ends."""
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(_name_server(settings))
        wrapper = namespace(directory, names) if names else ()
        for part in {setting.wrapper: None for setting in settings.values()}:
            wrapper += part
        daemon = Daemon(directory, wrapper)
        scenes = {}
        for name, setting in settings.items():
            scenes[name] = await _scene(name, setting, daemon, names, stack)
        http = f'[http]\nlisten = ["127.0.0.1:{daemon.port}"]\n'
        head = "".join({setting.head or HEAD: None for setting in settings.values()})
        daemon.config.write_text(head + http + "\n".join(s.place() for s in scenes.values()))
        await stack.enter_async_context(_running(daemon))
        tasks = [recording(daemon, tuple(scenes.values()))]
        tasks += [reader.run(s.tally) for s in scenes.values() for reader in s.readers()]
        await stack.enter_async_context(_background(*tasks))
        yield scenes


async def _scene(
    name: str,
    setting: Setting,
    daemon: Daemon,
    names: NameServer | None,
    stack: AsyncExitStack,
) -> Scene:
    expiry: Expiry = "idle" if setting.idle else "absolute"
    ldap = "password_file" in setting.key
    options = Options(apps=not ldap, ldap_apps=ldap, lifetime=LIFETIME, expiry=expiry)
    dsm = await stack.enter_async_context(Emulator(options))
    host = f"{name}.dsm.test" if setting.named else "127.0.0.1"
    authority = _authority(daemon.directory / f"{name}-ca") if setting.tls else None
    tls = None
    if authority is not None:
        server = host if setting.named else "localhost"
        tls = authority.server(server, wants_certificate="cert_file" in setting.key)
    port = stack.enter_context(held_port())
    gate = Gate(int(dsm.url.rpartition(":")[2]), port, tls, host)
    await gate.open()
    stack.callback(gate.close)
    if names is not None and setting.named:
        names.zone[host] = (gate.address,)
    endpoint = gate.url
    if setting.proxied:
        endpoint = await stack.enter_async_context(reverse_proxy(daemon.directory, gate.port))
    scene = Scene(name, setting, daemon.directory, daemon, dsm, gate, endpoint, names, authority)
    if setting.forward:
        scene.endpoint, scene.proxy = NOWHERE, gate.url
    await stack.enter_async_context(on_disk(setting.disk, scene.home))
    return scene


def _authority(directory: Path) -> Authority:
    directory.mkdir()
    return Authority(directory)


@asynccontextmanager
async def _name_server(settings: Mapping[str, Setting]) -> AsyncIterator[NameServer | None]:
    if not any(setting.named for setting in settings.values()):
        yield None
        return
    server = NameServer()
    await server.open()
    try:
        yield server
    finally:
        server.close()


@asynccontextmanager
async def _running(daemon: Daemon) -> AsyncIterator[None]:
    await daemon.start()
    try:
        await daemon.listening()
        yield
    finally:
        assert await daemon.stop() == 0, daemon.log.read_text()[-2000:]


@asynccontextmanager
async def _background(*runs: Coroutine[None, None, NoReturn]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
