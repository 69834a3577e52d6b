"""Faults of TLS on the way to DSM."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext

from faults.rig import wires
from faults.rig.fault import During, Fault, Setting
from faults.rig.gate import Trouble
from faults.rig.reasons import CONNECT, TIMEOUT, TLS
from faults.rig.replies import answered
from faults.rig.scene import Scene
from support.dsm_loopback import Authority

ENCRYPTED = Setting(tls=True)

CERTIFIED = Setting(
    tls=True,
    key='app_id = "{app_id}"\ncert_file = "{name}-client.crt"\nkey_file = "{name}-client.pem"',
)
"""A certificate app."""

PLAIN_HTTP = Trouble(on_accept=answered)


async def _reopen(scene: Scene, tls: SSLContext | None) -> None:
    scene.gate.close()
    scene.gate.tls = tls
    await scene.gate.open()


def _certified(host: str = "localhost", days: int = 1) -> During:
    """Return a fault in which DSM presents another certificate of its CA."""

    @asynccontextmanager
    async def during(scene: Scene) -> AsyncIterator[None]:
        usual, authority = scene.gate.tls, scene.authority
        assert authority is not None
        await _reopen(scene, authority.server(host, days))
        yield
        await _reopen(scene, usual)

    return during


@asynccontextmanager
async def _unknown_ca(scene: Scene) -> AsyncIterator[None]:
    usual = scene.gate.tls
    await _reopen(scene, _another(scene).server())
    yield
    await _reopen(scene, usual)


@asynccontextmanager
async def _ca_rotated(scene: Scene) -> AsyncIterator[None]:
    scene.authority = _another(scene)
    await _reopen(scene, scene.authority.server())
    yield
    scene.trust()


@asynccontextmanager
async def _client_expired(scene: Scene) -> AsyncIterator[None]:
    scene.certify(days=-1)
    await _reopen(scene, scene.gate.tls)
    yield
    scene.certify()


def _without_tls(trouble: Trouble) -> During:
    """Return a fault in which DSM answers TLS with something else."""

    @asynccontextmanager
    async def during(scene: Scene) -> AsyncIterator[None]:
        usual = scene.gate.tls
        await _reopen(scene, None)
        with scene.gate.troubled(trouble):
            yield
        await _reopen(scene, usual)

    return during


def _another(scene: Scene) -> Authority:
    directory = scene.directory / f"{scene.name}-{random.getrandbits(64):x}"
    directory.mkdir()
    return Authority(directory, "Another CA")


FAULTS = (
    Fault("tls-wrong-name", "a certificate of another host", _certified("a.b"), TLS, ENCRYPTED),
    Fault("tls-expired", "a certificate that has expired", _certified(days=-1), TLS, ENCRYPTED),
    Fault("tls-unknown-ca", "a certificate of an unknown CA", _unknown_ca, TLS, ENCRYPTED),
    Fault("tls-plain", "no TLS at all", _without_tls(PLAIN_HTTP), TLS, ENCRYPTED),
    Fault("tls-reset", "no handshake", _without_tls(wires.RESET_AT_ACCEPT), CONNECT, ENCRYPTED),
    Fault(
        "tls-hang",
        "half a handshake",
        _without_tls(wires.HANG_AT_ACCEPT),
        TIMEOUT | CONNECT,
        ENCRYPTED,
    ),
    Fault(
        "client-certificate-expired",
        "the client certificate expires, and is renewed later",
        _client_expired,
        TLS | CONNECT,
        CERTIFIED,
        logs="refresh failed",
    ),
    Fault("ca-rotated", "a new CA, which `ca_file` gets later", _ca_rotated, TLS, ENCRYPTED),
)
