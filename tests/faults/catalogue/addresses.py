"""Faults of DSM's name and address, and of a proxy in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.outages import refused
from faults.rig.fault import During, Fault, Setting, nothing
from faults.rig.name_server import Silence
from faults.rig.reasons import CONNECT, SERVER_ERROR, TIMEOUT
from faults.rig.scene import Scene

NAMED = Setting(tls=True, named=True, app='rejected_retry = "30m"')
PROXIED = Setting(proxied=True, app='session_check = "1s"')


def _unresolved(silence: Silence) -> During:
    """Return a fault in which DSM's name does not resolve and open connections are cut."""

    @asynccontextmanager
    async def during(scene: Scene) -> AsyncIterator[None]:
        assert scene.names is not None
        known = scene.names.zone[scene.gate.name]
        scene.names.zone[scene.gate.name] = silence
        scene.gate.cut()
        yield
        scene.names.zone[scene.gate.name] = known

    return during


@asynccontextmanager
async def _moved(scene: Scene) -> AsyncIterator[None]:
    assert scene.names is not None
    scene.gate.close()
    scene.gate.address = "127.0.0.2" if scene.gate.address == "127.0.0.1" else "127.0.0.1"
    await scene.gate.open()
    yield
    scene.names.zone[scene.gate.name] = scene.gate.address


def _unresolvable(name: str, breaks: str, silence: Silence) -> Fault:
    return Fault(name, breaks, _unresolved(silence), CONNECT | TIMEOUT, NAMED)


FAULTS = (
    _unresolvable("dns-nxdomain", "DSM's name does not exist", Silence.NXDOMAIN),
    _unresolvable("dns-servfail", "the name server fails", Silence.SERVFAIL),
    _unresolvable("dns-silent", "the name server does not answer", Silence.NOTHING),
    Fault("dns-moved", "DSM has moved to another address", _moved, CONNECT, NAMED),
    Fault("proxy-idle", "a proxy closes idle connections", nothing, setting=PROXIED),
    Fault("proxy-alone", "a proxy that finds no DSM", refused, SERVER_ERROR, PROXIED),
)
