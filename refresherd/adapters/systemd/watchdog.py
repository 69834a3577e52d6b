"""Pings the service manager's watchdog while the daemon does its work."""

import asyncio
from collections.abc import Callable, Collection
from typing import NoReturn

from refresherd.domain.model import App
from refresherd.host.service_manager import Notifier

PINGS_PER_INTERVAL = 3
"""Pings per interval: two may be lost before the service manager acts."""


async def ping(notifier: Notifier, interval: float, fault: Callable[[], str]) -> NoReturn:
    """Ping from the event loop until cancelled, except while `fault` returns a reason not to."""
    while True:
        await asyncio.sleep(interval / PINGS_PER_INTERVAL)
        if why := fault():
            message = f"{why}; the watchdog gets no ping until that changes"
            asyncio.get_running_loop().call_exception_handler({"message": message})
        else:
            notifier.send("WATCHDOG=1")


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
