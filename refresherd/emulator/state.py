"""Everything an emulator knows, shared by its endpoints and by the tests that steer it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from refresherd.emulator.apps import Apps
    from refresherd.emulator.delivery import Sleep
    from refresherd.emulator.faults import Faults
    from refresherd.emulator.logins import Logins
    from refresherd.emulator.requests import RequestLog
    from refresherd.emulator.sessions import Sessions
    from refresherd.emulator.tls import Authority


@dataclass(slots=True, kw_only=True)
class State:
    """The emulator's parts, and its ways to the world: a clock in seconds, randomness, a wait.

    `authority` makes the certificates; None on plain HTTP.
    """

    apps: Apps
    logins: Logins
    sessions: Sessions
    faults: Faults
    log: RequestLog
    now: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    sleep: Sleep
    authority: Authority | None = None
