"""Faults of the way to DSM: connections, TLS, names, and a proxy between."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from ssl import SSLContext

from dsm_loopback import Authority
from faults import wires
from faults.fault import BRIEF, LONG, During, Fault, Length, Setting, gated
from faults.gate import Trouble
from faults.names import Silence
from faults.replies import answered, pages
from faults.scene import Scene
from faults.timing import LIFETIME

CONNECT = frozenset({"connect"})
TIMEOUT = frozenset({"timeout"})
BAD_RESPONSE = frozenset({"bad_response"})
SERVER_ERROR = frozenset({"server_error"})
TLS = frozenset({"tls"})

ENCRYPTED = Setting(tls=True)
NAMED = Setting(tls=True, named=True, app='rejected_retry = "30m"')
PROXIED = Setting(proxied=True, app='session_check = "1s"')

PLAIN_HTTP = Trouble(accepted=answered)

CACHED_FOR = Length("long", 18.0)
"""Longer than the addresses of a name are remembered, which is 10 s."""

RESTARTING = Length("brief", 0.1 * LIFETIME, within_budget=True)
"""Not counting the restart itself, which takes a while on a busy machine."""

FLAPPING = Length("flapping", 20.0)

FLAPS = (
    wires.RESET_AT_ACCEPT,
    wires.RESET_AFTER_REQUEST,
    wires.RESET_IN_BODY,
    wires.HANG_AFTER_REQUEST,
    wires.HANG_IN_HEAD,
    pages(500, 502, 503, 429),
)


@asynccontextmanager
async def refused(scene: Scene) -> AsyncIterator[None]:
    """Nobody listens."""
    scene.gate.close()
    yield
    await scene.gate.open()


@asynccontextmanager
async def _swallowed(scene: Scene) -> AsyncIterator[None]:
    """Let nobody accept: with its queue full, a listener drops what comes (listen(2))."""
    scene.gate.close()
    place = (scene.gate.address, scene.gate.port)
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(place, backlog=0))
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield
    await scene.gate.open()


@asynccontextmanager
async def _restarted(scene: Scene) -> AsyncIterator[None]:
    scene.gate.close()
    await scene.daemon.stop()
    await scene.daemon.start()
    await scene.daemon.listening()
    yield
    await scene.gate.open()


@asynccontextmanager
async def _flapping(scene: Scene) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        flaps = tasks.create_task(_flap(scene))
        yield
        flaps.cancel()


async def _flap(scene: Scene) -> None:
    luck = random.Random(scene.name)  # noqa: S311  # the same each time, not a secret
    while True:
        with scene.gate.troubled(luck.choice(FLAPS)):
            await asyncio.sleep(luck.uniform(0.1, 1.5))
        await asyncio.sleep(luck.uniform(0.1, 1.5))


async def _reopen(scene: Scene, tls: SSLContext | None) -> None:
    scene.gate.close()
    scene.gate.tls = tls
    await scene.gate.open()


def _certified(host: str = "localhost", days: int = 1) -> During:
    """Return how DSM shows another certificate of its CA for a while."""

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


def _without_tls(trouble: Trouble) -> During:
    """Return how DSM meets TLS with something else for a while."""

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


def _unresolved(silence: Silence) -> During:
    """Return how DSM's name is not resolved for a while, and known connections end."""

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


@asynccontextmanager
async def _nothing(_: Scene) -> AsyncIterator[None]:
    yield


def _wire(name: str, breaks: str, trouble: Trouble, reasons: frozenset[str]) -> Fault:
    return Fault(name, breaks, gated(trouble), reasons)


CONNECTIONS = (
    Fault("refused", "nobody listens on DSM's port", refused, CONNECT),
    _wire("reset-at-accept", "the connection is reset", wires.RESET_AT_ACCEPT, CONNECT),
    _wire("reset-after-request", "a request is reset", wires.RESET_AFTER_REQUEST, CONNECT),
    _wire("reset-in-head", "an answer is reset in its head", wires.RESET_IN_HEAD, CONNECT),
    _wire("reset-in-body", "an answer is reset in its body", wires.RESET_IN_BODY, BAD_RESPONSE),
    Fault("hang-at-connect", "nobody accepts a connection", _swallowed, TIMEOUT),
    _wire("hang-at-accept", "nobody reads a request", wires.HANG_AT_ACCEPT, TIMEOUT),
    _wire("hang-after-request", "nobody answers", wires.HANG_AFTER_REQUEST, TIMEOUT),
    _wire("hang-in-head", "an answer stops in its head", wires.HANG_IN_HEAD, TIMEOUT),
    _wire("hang-in-body", "an answer stops in its body", wires.HANG_IN_BODY, TIMEOUT),
    _wire("closed", "the connection is closed", wires.CLOSED_AFTER_REQUEST, CONNECT),
    _wire("not-http", "another protocol answers", wires.NOT_HTTP, BAD_RESPONSE),
    _wire("drip", "an answer comes at a byte a second", wires.ONE_BYTE_A_SECOND, TIMEOUT),
    _wire("head-endless", "an answer's head has no end", wires.ENDLESS_HEAD, BAD_RESPONSE),
    Fault(
        "restarted",
        "the daemon is restarted while DSM is away",
        _restarted,
        CONNECT,
        Setting(alone=True),
        lengths=(RESTARTING, LONG),
        withdraws=True,
        severs=True,
    ),
    Fault("slow", "answers take half of the timeout", gated(wires.SLOW)),
    Fault("answer-twice", "each answer comes twice", gated(wires.TWICE)),
    Fault("answer-late", "another answer comes later", gated(wires.AGAIN_LATER)),
    Fault(
        "flapping",
        "DSM is there and away, in many ways, at random",
        _flapping,
        CONNECT | TIMEOUT | BAD_RESPONSE | SERVER_ERROR | {"throttled"},
        lengths=(FLAPPING,),
    ),
    Fault("neighbours", "other apps of the same daemon are in trouble", _nothing, lengths=(LONG,)),
)

CERTIFICATES = (
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
    Fault("ca-rotated", "a new CA, and `ca_file` has it later", _ca_rotated, TLS, ENCRYPTED),
)

NAMES = (
    Fault(
        "dns-nxdomain",
        "DSM's name does not exist",
        _unresolved(Silence.NXDOMAIN),
        CONNECT,
        NAMED,
        lengths=(BRIEF, CACHED_FOR),
        cached=True,
    ),
    Fault(
        "dns-servfail",
        "the name server fails",
        _unresolved(Silence.SERVFAIL),
        CONNECT,
        NAMED,
        lengths=(BRIEF, CACHED_FOR),
        cached=True,
    ),
    Fault(
        "dns-silent",
        "the name server does not answer",
        _unresolved(Silence.NOTHING),
        CONNECT | TIMEOUT,
        NAMED,
        lengths=(BRIEF, CACHED_FOR),
        cached=True,
    ),
    Fault("dns-moved", "DSM has moved to another address", _moved, CONNECT, NAMED),
)

PROXIES = (
    Fault("proxy-idle", "a proxy closes idle connections", _nothing, setting=PROXIED),
    Fault("proxy-alone", "a proxy that finds no DSM", refused, SERVER_ERROR, PROXIED),
)

FAULTS = (*CONNECTIONS, *CERTIFICATES, *NAMES, *PROXIES)
