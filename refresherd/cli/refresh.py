"""`refresherd refresh`: has apps refreshed now, and shows what came of it."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from threading import Thread

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.failures import CommandError, TimedOut
from refresherd.cli.client.statuses import VALID, Status, read, read_one
from refresherd.cli.exits import Exit
from refresherd.cli.screen import Screen
from refresherd.cli.table import table

PATIENCE = 10.0
"""Seconds for the names of all apps."""

AT_ONCE = 32
"""Requests under way: enough that an app that hangs holds up few others."""

REJECTED = "rejected"

WORST_FIRST = (Exit.USAGE, Exit.NOT_PERMITTED, Exit.UNAVAILABLE, Exit.TIMED_OUT, Exit.OK)

Result = Status | CommandError


def execute(arguments: argparse.Namespace) -> Exit:
    """Refresh the apps and show their status after it; the worst outcome is the exit status."""
    if bool(arguments.apps) == arguments.all:
        print("refresherd refresh: name the apps, or give --all", file=sys.stderr)
        return Exit.USAGE
    daemon = Daemon(arguments.socket)
    apps = arguments.apps or [status.name for status in read(daemon.statuses(PATIENCE))]
    results = _refreshed(daemon, list(dict.fromkeys(apps)), arguments.timeout)
    _show(results)
    return min(map(_exit, results), key=WORST_FIRST.index, default=Exit.OK)


def _refreshed(daemon: Daemon, apps: Sequence[str], timeout: float) -> list[Result]:
    results: dict[str, Result] = {}

    def refresh(some: Iterable[str]) -> None:
        for app in some:
            results[app] = _result(daemon, app, timeout)

    # Daemons, so that an interrupt need not wait for them.
    threads = [
        Thread(target=refresh, args=(apps[first::AT_ONCE],), daemon=True)
        for first in range(min(AT_ONCE, len(apps)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[app] for app in apps]


def _result(daemon: Daemon, app: str, timeout: float) -> Result:
    deadline = time.monotonic() + timeout
    try:
        status = read_one(daemon.refresh(app, timeout))
    except CommandError as error:
        return error
    if time.monotonic() >= deadline:
        return TimedOut(f"{app}: the refresh has not come to an end within {timeout:g} s")
    return status


def _show(results: Iterable[Result]) -> None:
    statuses = [result for result in results if isinstance(result, Status)]
    if statuses:
        colour = Screen(sys.stdout, os.environ).colour
        print("\n".join(table(statuses, time.time(), colour=colour)), flush=True)
    for result in results:
        if isinstance(result, CommandError):
            print(f"refresherd refresh: {result}", file=sys.stderr)


def _exit(result: Result) -> Exit:
    if isinstance(result, CommandError):
        return result.status
    if result.state == REJECTED:
        return Exit.NOT_PERMITTED
    if result.state not in VALID:
        return Exit.UNAVAILABLE
    return Exit.TIMED_OUT if result.failures else Exit.OK
