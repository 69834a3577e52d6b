"""`refresherd refresh`: refresh apps now, and show the result."""

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from functools import partial
from threading import Thread

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline
from refresherd.cli.client.messages import REJECTED, VALID, read_app, read_statuses
from refresherd.cli.errors import CommandError, Exit, TimedOut, UsageError
from refresherd.cli.options import add_app, add_socket, add_timeout
from refresherd.cli.screen import Screen
from refresherd.domain.app_row import AppRow
from refresherd.domain.durations import in_seconds
from refresherd.domain.status_lines import table

DESCRIPTION = """\
The daemon renews tokens by itself; use this for tests or after a repair. A
replaced credential is tried at once, even if DSM refused the old one. A
refresh that is already under way is not repeated."""

EPILOG = """\
examples:
  refresherd refresh payments
  refresherd refresh --all

exit status (the worst, if there are several apps):
  0   refreshed
  64  there is no such app
  69  failed, and no valid token is left
  75  failed, but the old token is still valid; try again
  77  DSM refused the credential, or you may not refresh this app"""

CONCURRENCY = 32
"""Requests at the same time, so that an app that hangs delays few others."""

WORST_FIRST = (Exit.USAGE, Exit.NOT_PERMITTED, Exit.UNAVAILABLE, Exit.TIMED_OUT, Exit.OK)

Result = AppRow | CommandError


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `refresh`."""
    add_app(parser, "*", "the apps to refresh")
    parser.add_argument("--all", action="store_true", help="refresh every app")
    add_timeout(parser, 60.0)
    add_socket(parser)


def execute(arguments: Namespace) -> Exit:
    """Refresh the apps and show their new status; the worst result is the exit status."""
    if arguments.apps and arguments.all:
        raise UsageError("name apps or give --all, not both")
    if not arguments.apps and not arguments.all:
        raise UsageError("name the apps, or give --all")
    daemon, deadline = Daemon(arguments.socket), Deadline(arguments.timeout)
    apps = arguments.apps or [app.name for app in read_statuses(daemon.status("", deadline))]
    results = _refresh_all(daemon, list(dict.fromkeys(apps)), deadline)
    rows = [result for result in results if isinstance(result, AppRow)]
    if rows:
        Screen(sys.stdout, os.environ).print(table(rows))
    for result in results:
        if isinstance(result, CommandError):
            print(f"refresherd refresh: {result}", file=sys.stderr)
    return min(map(_exit_status, results), key=WORST_FIRST.index, default=Exit.OK)


def _refresh_all(daemon: Daemon, apps: Sequence[str], deadline: Deadline) -> list[Result]:
    results: dict[str, Result] = {}

    def refresh(some: Iterable[str]) -> None:
        for app in some:
            try:
                results[app] = _refresh(daemon, app, deadline)
            except CommandError as error:
                results[app] = error

    # Daemon threads, so that Ctrl-C does not wait for them.
    threads = [
        Thread(target=refresh, args=(apps[first::CONCURRENCY],), daemon=True)
        for first in range(min(CONCURRENCY, len(apps)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[app] for app in apps]


def _refresh(daemon: Daemon, app: str, deadline: Deadline) -> AppRow:
    answer = daemon.refresh(app, deadline)
    if not round(deadline.answer, 2):  # the daemon has answered because its wait was over
        cause = f"the refresh has not finished within {in_seconds(deadline.seconds)}"
        raise TimedOut(f"{app}: {cause}")
    return read_app(answer, partial(AppRow, now=time.time()))


def _exit_status(result: Result) -> Exit:
    if isinstance(result, CommandError):
        return result.status
    if result.state == REJECTED:
        return Exit.NOT_PERMITTED
    if result.state not in VALID:
        return Exit.UNAVAILABLE
    return Exit.TIMED_OUT if result.failures else Exit.OK
