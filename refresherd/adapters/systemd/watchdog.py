"""Tells the service manager that all is well, as long as it is."""

import asyncio
from collections.abc import Callable, Iterable
from typing import NoReturn

from refresherd.domain.events import ClockJumped, Jump
from refresherd.domain.model import App, Instant
from refresherd.engine.ports import Clock
from refresherd.host.sd_notify import Notifier

SHARE = 3
"""A third of the interval: two pings may fail to come before the manager gives up."""

MOST_OVERDUE = 30.0
"""Seconds for which something may be due that nobody has begun. After a resume ten thousand apps
take four seconds, and what is under way is bounded by timeouts of its own."""


class Watchdog:
    """Pings from the event loop, after a look at the schedule. A loop that hangs says nothing.

    `overdue` returns for how many seconds something has been due that is not under way; `jumps`
    tells what happened to the clocks since it was last called.
    """

    def __init__(
        self,
        notifier: Notifier,
        interval: float,
        clock: Clock,
        overdue: Callable[[Instant], float],
        jumps: Callable[[], tuple[ClockJumped, ...]],
    ) -> None:
        self._notifier = notifier
        self._every = interval / SHARE
        self._clock = clock
        self._overdue = overdue
        self._jumps = jumps

    async def run(self) -> NoReturn:
        """Ping until cancelled."""
        loop = asyncio.get_running_loop()
        awake_since = loop.time()
        while True:
            due = loop.time() + self._every
            await asyncio.sleep(self._every)
            now = loop.time()
            if any(jump.kind is Jump.SUSPEND for jump in self._jumps()):
                awake_since = now
            overdue = min(self._overdue(self._clock.now()), now - awake_since)
            complaint = stalled(overdue, now - due, self._every)
            if complaint:
                message = (
                    f"{complaint}; the service manager's watchdog is not told that all is well"
                )
                loop.call_exception_handler({"message": message})
            else:
                self._notifier.send("WATCHDOG=1")


def stalled(overdue: float, lag: float, every: float) -> str:
    """Return what keeps the daemon from its work, "" if nothing does. Times in seconds.

    `overdue` is awake time: what fell due in a suspend cannot have been begun. `lag` is how
    late the event loop ran a ping that is due `every` so many seconds.
    """
    if overdue > MOST_OVERDUE:
        return f"something has been due for {overdue:.0f} s and is not begun"
    if lag > every:
        return f"the event loop is {lag:.1f} s late"
    return ""


def warnings(interval: float, apps: Iterable[App]) -> list[str]:
    """Return a line if the watchdog's interval is too short to be sure of.

    The longest step that apps may take is an attempt, or a hook.
    """
    longest, key = max(step for app in apps for step in _steps(app))
    if interval >= longest:
        return []
    message = f"WatchdogSec={interval:g}s is shorter than the longest step, {longest:g} s for {key}"
    return [f"{message}; make it longer, or slow will be taken for stuck"]


def _steps(app: App) -> Iterable[tuple[float, str]]:
    yield app.endpoint.timeout, f"apps.{app.name} (dsm.timeout)"
    for index, hook in enumerate(app.hooks):
        yield hook.timeout, f"apps.{app.name}.hooks[{index}].timeout"
