"""What a fault is: a value that says what it breaks, and what is allowed meanwhile."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faults.gate import Trouble

if TYPE_CHECKING:
    from faults.scene import Scene

During = Callable[["Scene"], AbstractAsyncContextManager[None]]
"""Begins a fault and, when the block is left, ends it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What must be there for a fault: apps of the same setting can suffer the same faults.

    `app` is more lines of the app's table, `outputs` replaces its usual file and socket. Those
    that are `alone` have a daemon to themselves, which `wrapper` (a command) starts and which
    `head` (TOML) configures.
    """

    tls: bool = False
    named: bool = False
    """DSM has a host name, and the suite its name server; else it is 127.0.0.1."""
    idle: bool = False
    """Whether a session's life counts from its last use, not from its opening."""
    app: str = ""
    alone: bool = False
    wrapper: tuple[str, ...] = ()
    head: str = ""


PLAIN = Setting()


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and what is allowed while it lasts, besides what the outage budget allows.

    `reasons` are the failures that an operator may be told of, at least one of them and no
    other; without any nothing may fail. `withdraws`: consumers may be left without a token
    within the budget, too. `stale`: DSM ends sessions early, so that a token which is dead may
    be read until that is noticed. `recovery` bounds, in seconds, how long it takes from the
    fault's end to the next success. `brief_only`: it makes no sense beyond the budget.
    `severs`: consumers may be cut off in an answer, since the daemon itself is hit.
    """

    name: str
    breaks: str
    during: During
    reasons: frozenset[str] = frozenset()
    setting: Setting = PLAIN
    withdraws: bool = False
    stale: bool = False
    recovery: float = 15.0
    brief_only: bool = False
    severs: bool = False


def gated(trouble: Trouble) -> During:
    """Return how to begin and end trouble at the gate."""

    @asynccontextmanager
    async def during(scene: "Scene") -> AsyncIterator[None]:
        with scene.gate.troubled(trouble):
            yield

    return during
