"""The faults of DSM's side: the network, TLS, names, and all that a server can answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults import wires
from faults.fault import Fault, gated
from faults.scene import Scene


@asynccontextmanager
async def _refused(scene: Scene) -> AsyncIterator[None]:
    scene.gate.close()
    yield
    await scene.gate.open()


CONNECT = frozenset({"connect"})
TIMEOUT = frozenset({"timeout"})
BAD_RESPONSE = frozenset({"bad_response"})

WIRES = (
    Fault("refused", "nobody listens on DSM's port", _refused, CONNECT),
    Fault("reset-at-accept", "the connection is reset", gated(wires.RESET_AT_ACCEPT), CONNECT),
    Fault(
        "reset-after-request",
        "the connection is reset instead of an answer",
        gated(wires.RESET_AFTER_REQUEST),
        CONNECT,
    ),
    Fault("reset-in-head", "it is reset in an answer's head", gated(wires.RESET_IN_HEAD), CONNECT),
    Fault(
        "reset-in-body",
        "it is reset in an answer's body",
        gated(wires.RESET_IN_BODY),
        BAD_RESPONSE,
    ),
    Fault("hang-at-accept", "nobody reads the request", gated(wires.HANG_AT_ACCEPT), TIMEOUT),
    Fault("hang-after-request", "nobody answers", gated(wires.HANG_AFTER_REQUEST), TIMEOUT),
    Fault("hang-in-head", "an answer stops in its head", gated(wires.HANG_IN_HEAD), TIMEOUT),
    Fault("hang-in-body", "an answer stops in its body", gated(wires.HANG_IN_BODY), TIMEOUT),
    Fault(
        "closed", "it is closed instead of an answer", gated(wires.CLOSED_AFTER_REQUEST), CONNECT
    ),
    Fault("not-http", "another protocol answers", gated(wires.NOT_HTTP), BAD_RESPONSE),
    Fault("drip", "an answer comes at a byte a second", gated(wires.ONE_BYTE_A_SECOND), TIMEOUT),
)

FAULTS = WIRES
