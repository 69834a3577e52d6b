"""A fault as a value: what it breaks, and what is allowed while it lasts."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from faults.rig.gate import Trouble
from faults.rig.readers import Output
from faults.rig.timing import LIFETIME, RECOVERY

if TYPE_CHECKING:
    from faults.rig.scene import Scene

During = Callable[["Scene"], AbstractAsyncContextManager[None]]
"""Begins a fault, and ends it when the block is left."""


class Disk(Enum):
    """Where an app's files are; all but the first belong to the host side's daemon."""

    SHARED = "the daemon's directory"
    OWN = "a directory of the app's own"
    MEMORY = "a tmpfs"
    FUSE = "a filesystem in user space"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a fault needs. Apps with equal settings can suffer the same faults."""

    tls: bool = False
    named: bool = False
    """DSM has a host name, served by the suite's name server; otherwise it is 127.0.0.1."""
    proxied: bool = False
    """haproxy stands between the daemon and DSM."""
    forward: bool = False
    """The daemon reaches DSM through the gate as its HTTP proxy."""
    idle: bool = False
    """A session's lifetime counts from its last use instead of its start."""
    key: str = 'api_key_file = "{name}.key"'
    """The line that names the app's credential."""
    disk: Disk = Disk.SHARED
    """Where the token file is."""
    app: str = ""
    """More lines for the app's table."""
    twin: bool = False
    """The app has a second file of the same name, in a directory of its own."""
    alone: bool = False
    """The fault needs a daemon of its own."""
    others: bool = False
    """Processes of other users take part."""
    wrapper: tuple[str, ...] = ()
    """A command that starts the daemon."""
    head: str = ""
    """The first lines of that daemon's configuration, in TOML."""


PLAIN = Setting()


@dataclass(frozen=True, slots=True)
class Length:
    """How long a fault lasts. `within_budget`: no consumer may notice it."""

    name: str
    seconds: float
    within_budget: bool = False


BRIEF = Length("brief", 0.3 * LIFETIME, within_budget=True)
LONG = Length("long", 1.2 * LIFETIME)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and what is allowed while it lasts beyond what the outage budget allows."""

    name: str
    breaks: str
    """What is broken, for people."""
    during: During
    reasons: frozenset[str] = frozenset()
    """Why attempts may fail: one of these at least and no other. Empty: none may fail."""
    setting: Setting = PLAIN
    lengths: tuple[Length, ...] = (BRIEF, LONG)
    recovery: float = RECOVERY
    """Seconds from the fault's end within which a refresh must succeed."""
    logs: str = ""
    """A log event that must appear."""
    may_lack_token: bool = False
    """Consumers may find no token, within the outage budget too."""
    may_serve_dead_token: bool = False
    """DSM ends sessions early: a dead token may be read until the daemon notices."""
    may_cut_connections: bool = False
    """The daemon itself is hit: consumers may lose their connection in the middle of an answer."""
    may_pass_unnoticed: bool = False
    """Attempts need not fail."""
    blinds_suite: bool = False
    """The suite cannot look at the daemon either, which does not mean that the machine is busy."""
    loads_machine: bool = False
    """It keeps the processors busy: that is no excuse for it, and it happens after other faults."""
    stuck: frozenset[Output] = frozenset()
    """These outputs keep their token, even when it expires."""
    disrupted: frozenset[Output] = frozenset()
    """These outputs may have no token or be out of reach."""
    foreign: frozenset[Output] = frozenset()
    """Somebody else writes to these outputs: what is read there meanwhile need not be a token."""


@asynccontextmanager
async def nothing(_: "Scene") -> AsyncIterator[None]:
    """Break nothing."""
    yield


def gated(trouble: Trouble) -> During:
    """Return a fault that is trouble at the gate."""

    @asynccontextmanager
    async def during(scene: "Scene") -> AsyncIterator[None]:
        with scene.gate.troubled(trouble):
            yield

    return during
