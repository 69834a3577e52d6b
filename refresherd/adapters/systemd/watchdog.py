"""Pings the service manager's watchdog while the daemon does its work."""

import asyncio
from collections.abc import Callable, Collection
from typing import NoReturn

from refresherd.domain.events import ClockJumped
from refresherd.domain.labels import Jump
from refresherd.domain.model import App, Instant
from refresherd.engine.ports import Clock
from refresherd.host.service_manager import Notifier

PINGS_PER_INTERVAL = 3
"""Pings per interval: two may be lost before the service manager acts."""

MAX_OVERDUE = 30.0
"""Seconds for which due work may wait to be started. After a resume ten thousand apps take four
seconds; work in progress has its own timeouts."""


async def ping(
    notifier: Notifier,
    interval: float,
    clock: Clock,
    overdue: Callable[[Instant], float],
    jumps: Callable[[], tuple[ClockJumped, ...]],
) -> NoReturn:
    """Ping from the event loop until cancelled, except while due work is not being started.

    `overdue` returns for how many seconds the oldest due work has waited to be started; `jumps`
    returns the clock jumps since its last call.
    """
    loop = asyncio.get_running_loop()
    every = interval / PINGS_PER_INTERVAL
    awake_since = loop.time()
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        now = loop.time()
        if any(jump.kind is Jump.SUSPEND for jump in jumps()):
            awake_since = now
        fault = stalled(min(overdue(clock.now()), now - awake_since), now - due, every)
        if fault:
            message = f"{fault}; the watchdog gets no ping until that changes"
            loop.call_exception_handler({"message": message})
        else:
            notifier.send("WATCHDOG=1")


def stalled(overdue: float, lag: float, every: float) -> str:
    """Return why the daemon is not doing its work, "" if it is. Times in seconds.

    `overdue` excludes suspends, during which nothing can be started. `lag` is how late the event
    loop ran a ping; pings are due every `every` seconds.
    """
    if overdue > MAX_OVERDUE:
        return f"due work has not been started for {overdue:.0f} s"
    if lag > every:
        return f"the event loop is {lag:.1f} s late"
    return ""


def warnings(interval: float, apps: Collection[App]) -> list[str]:
    """Return a warning if a step of an app, an attempt or a hook, may outlast the interval."""
    steps = [(app.endpoint.timeout, f"apps.{app.name} (dsm.timeout)") for app in apps]
    for app in apps:
        for index, hook in enumerate(app.hooks):
            steps.append((hook.timeout, f"apps.{app.name}.hooks[{index}].timeout"))
    longest, key = max(steps)
    if interval >= longest:
        return []
    message = f"WatchdogSec={interval:g}s is shorter than the longest step, {longest:g} s for {key}"
    return [f"{message}; increase it, or a slow step may be taken for a hang"]
