"""Faults of DSM's name and address, and of a proxy in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from faults.catalogue.outages import refused
from faults.rig import wires
from faults.rig.fault import During, Fault, Length, Setting, nothing
from faults.rig.gate import Gate, Trouble
from faults.rig.name_server import Silence
from faults.rig.reasons import CONNECT, SERVER_ERROR, TIMEOUT
from faults.rig.replies import pages
from faults.rig.scene import Scene
from faults.rig.timing import LIFETIME, RETRY_MAX
from faults.rig.timing import TIMEOUT as TIMEOUT_SECONDS

NAMED = Setting(tls=True, named=True, app='rejected_retry = "30m"')
FORWARD = Setting(named=True, forward=True)
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
    scene.names.zone[scene.gate.name] = (scene.gate.address,)


HEALTHY = "127.0.0.3"
"""The name's other address. The system's resolver puts 127.0.0.1 before it (RFC 6724, 6)."""

THROUGHOUT = (
    Length("brief", 0.3 * LIFETIME, within_budget=True),
    Length("long", 1.5 * LIFETIME, within_budget=True),
)
"""With another address at hand, no consumer may notice anything, however long it lasts."""


@asynccontextmanager
async def _another_address(
    scene: Scene, sick: str = "", healthy: str = HEALTHY
) -> AsyncIterator[Gate]:
    """Give DSM's name another address, which works. `sick` is where the gate moves to, if any."""
    assert scene.names is not None
    before = scene.gate
    other = Gate(
        before.dsm_port, before.port, before.tls, before.name, healthy, arrivals=before.arrivals
    )
    usual = before.address
    if sick:
        before.close()
        before.address = sick
        await before.open()
    await other.open()
    scene.names.zone[before.name] = (before.address, other.address)
    yield other
    other.close()
    if sick:
        before.close()
        before.address = usual
        await before.open()
    scene.names.zone[before.name] = (usual,)


def _sick(trouble: Trouble) -> During:
    """Return a fault of the first of two addresses."""

    @asynccontextmanager
    async def during(scene: Scene) -> AsyncIterator[None]:
        async with _another_address(scene):
            with scene.gate.troubled(trouble):
                yield

    return during


@asynccontextmanager
async def _sick_ipv6(scene: Scene) -> AsyncIterator[None]:
    async with _another_address(scene, "::1", "127.0.0.1"):
        with scene.gate.troubled(wires.HANG_AFTER_REQUEST):
            yield


@asynccontextmanager
async def _without_handshake(scene: Scene) -> AsyncIterator[None]:
    async with _another_address(scene):
        tls = scene.gate.tls
        scene.gate.close()
        scene.gate.tls = None
        await scene.gate.open()
        with scene.gate.troubled(wires.HANG_AT_ACCEPT):
            yield
        scene.gate.close()
        scene.gate.tls = tls
        await scene.gate.open()


@asynccontextmanager
async def _refused_at_one(scene: Scene) -> AsyncIterator[None]:
    async with _another_address(scene):
        scene.gate.close()
        yield
        await scene.gate.open()


@asynccontextmanager
async def _sick_in_turn(scene: Scene) -> AsyncIterator[None]:
    """Let one address be sick until the daemon has found the other, and then that one."""
    async with _another_address(scene) as other:
        for gate in (scene.gate, other):
            issued = len(scene.dsm.sessions.tokens(scene.app))
            with gate.troubled(wires.HANG_AFTER_REQUEST):
                renewed = await scene.until(
                    lambda issued=issued: len(scene.dsm.sessions.tokens(scene.app)) > issued,  # type: ignore[misc]
                    LIFETIME,
                )
            if renewed is None:
                scene.remarks.append(f"no token while {gate.address} was sick")
        yield


@asynccontextmanager
async def _sick_at_start(scene: Scene) -> AsyncIterator[None]:
    tokens = partial(scene.dsm.sessions.tokens, scene.app)
    async with _another_address(scene):
        with scene.gate.troubled(wires.HANG_AFTER_REQUEST):
            await scene.daemon.stop()
            issued = len(tokens())
            await scene.daemon.start()
            await scene.daemon.listening()
            if await scene.until(lambda: len(tokens()) > issued, FIRST_LOGIN) is None:
                scene.remarks.append(f"no token {FIRST_LOGIN} s after the start")
            yield


FIRST_LOGIN = TIMEOUT_SECONDS + RETRY_MAX + 1.0
"""Within one hanging attempt and the wait after it there must be a token."""


def _unresolvable(name: str, breaks: str, silence: Silence) -> Fault:
    return Fault(name, breaks, _unresolved(silence), CONNECT | TIMEOUT, NAMED)


FAULTS = (
    _unresolvable("dns-nxdomain", "DSM's name does not exist", Silence.NXDOMAIN),
    _unresolvable("dns-servfail", "the name server fails", Silence.SERVFAIL),
    _unresolvable("dns-silent", "the name server does not answer", Silence.NOTHING),
    Fault("dns-moved", "DSM has moved to another address", _moved, CONNECT, NAMED),
    Fault(
        "address-silent",
        "the first of DSM's addresses does not answer requests",
        _sick(wires.HANG_AFTER_REQUEST),
        TIMEOUT,
        NAMED,
        THROUGHOUT,
    ),
    Fault(
        "address-5xx",
        "it answers 503, on connections that were good before",
        _sick(pages(503)),
        SERVER_ERROR,
        NAMED,
        THROUGHOUT,
    ),
    Fault(
        "address-reset",
        "it resets requests",
        _sick(wires.RESET_AFTER_REQUEST),
        CONNECT,
        NAMED,
        THROUGHOUT,
    ),
    Fault(
        "address-handshake",
        "it accepts connections, and nothing more",
        _without_handshake,
        setting=NAMED,
        lengths=THROUGHOUT,
    ),
    Fault(
        "address-refused",
        "nobody listens there",
        _refused_at_one,
        setting=NAMED,
        lengths=THROUGHOUT,
    ),
    Fault(
        "address-ipv6",
        "it is an IPv6 address, and the other one IPv4",
        _sick_ipv6,
        TIMEOUT,
        NAMED,
        THROUGHOUT,
        may_pass_unnoticed=True,  # a host without IPv6 does not look for such addresses
    ),
    Fault(
        "address-in-turn",
        "it recovers, and then the other one fails",
        _sick_in_turn,
        TIMEOUT,
        NAMED,
        THROUGHOUT[:1],
    ),
    Fault(
        "address-first-login",
        "it does not answer the first login of a new process",
        _sick_at_start,
        TIMEOUT,
        replace(NAMED, alone=True),
        THROUGHOUT[:1],
        may_lack_token=True,
        may_cut_connections=True,
    ),
    Fault(
        "proxy-address",
        "the first address of a forward proxy does not answer",
        _sick(wires.HANG_AFTER_REQUEST),
        TIMEOUT,
        FORWARD,
        THROUGHOUT,
    ),
    Fault("proxy-idle", "a proxy closes idle connections", nothing, setting=PROXIED),
    Fault("proxy-alone", "a proxy that finds no DSM", refused, SERVER_ERROR, PROXIED),
)
