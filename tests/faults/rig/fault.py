"""What a fault is: a value that says what it breaks, and what is allowed meanwhile."""

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
"""Begins a fault and, when the block is left, ends it."""


class Disk(Enum):
    """What an app's files are on; all but the first have a daemon for the host's faults."""

    SHARED = "the daemon's directory"
    OWN = "a directory of the app's own"
    MEMORY = "a tmpfs"
    FUSE = "a filesystem in user space"


@dataclass(frozen=True, slots=True)
class Setting:
    """What must be there for a fault: apps of the same setting can suffer the same faults.

    `app` is more lines of the app's table, `key` the line that names its credential (an API key's,
    a command's, or the session's in a bootstrap file). Those that
    are `alone` have a daemon to themselves, which `wrapper` (a command) starts and which `head`
    (TOML) configures.
    """

    tls: bool = False
    named: bool = False
    """DSM has a host name, and the suite a name server; else it is 127.0.0.1."""
    proxied: bool = False
    """haproxy stands between."""
    idle: bool = False
    """A session's life counts from its last use, not from its opening."""
    key: str = 'api_key_file = "{name}.key"'
    disk: Disk = Disk.SHARED
    """What the token file is on."""
    app: str = ""
    alone: bool = False
    wrapper: tuple[str, ...] = ()
    head: str = ""


PLAIN = Setting()


@dataclass(frozen=True, slots=True)
class Length:
    """How long a fault lasts; `within_budget` where no consumer may notice."""

    name: str
    seconds: float
    within_budget: bool = False


BRIEF = Length("brief", 0.3 * LIFETIME, within_budget=True)
LONG = Length("long", 1.2 * LIFETIME)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and what is allowed while it lasts, besides what the outage budget allows.

    `reasons` are the failures that an operator may be told of, at least one of them and no
    other; without any nothing may fail. What is `mild` need not fail. `tells` is an event that
    must be in the log.

    `withdraws`: consumers may be left without a token within the budget, too. `stale`: DSM
    ends sessions early, so that a token which is dead may be read until that is noticed.
    `severs`: consumers may be cut off in an answer, since the daemon itself is hit. An output
    that is `stuck` keeps the token that it has, also when that runs out; one that is `spoilt` may
    be without one, or out of reach.
    `recovery` bounds, in seconds, how long it takes from the end to the next success.
    """

    name: str
    breaks: str
    during: During
    reasons: frozenset[str] = frozenset()
    setting: Setting = PLAIN
    lengths: tuple[Length, ...] = (BRIEF, LONG)
    recovery: float = RECOVERY
    tells: str = ""
    withdraws: bool = False
    stale: bool = False
    severs: bool = False
    mild: bool = False
    blinds: bool = False
    """The suite can't look either, which does not mean that the machine stands still."""
    stuck: frozenset[Output] = frozenset()
    spoilt: frozenset[Output] = frozenset()


@asynccontextmanager
async def nothing(_: "Scene") -> AsyncIterator[None]:
    """Let nothing happen."""
    yield


def gated(trouble: Trouble) -> During:
    """Return how to begin and end trouble at the gate."""

    @asynccontextmanager
    async def during(scene: "Scene") -> AsyncIterator[None]:
        with scene.gate.troubled(trouble):
            yield

    return during
