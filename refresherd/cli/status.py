"""`refresherd status`: show each app's state, expiry, next refresh and last error."""

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.messages import read_statuses
from refresherd.cli.display import Screen, table
from refresherd.cli.errors import CommandError, Exit
from refresherd.cli.options import add_socket, app_name

SUMMARY = "show each app's state, expiry, next refresh and last error"

DESCRIPTION = """\
The states of an app:
  starting  no token yet
  fresh     a valid token
  retrying  a valid token, but the last attempt to renew it failed
  expired   no valid token
  rejected  DSM refused the credential: replace it
The outage budget is how long DSM may be away without a token expiring."""

EPILOG = """\
examples:
  refresherd status --watch
  refresherd status payments --json | jq -r .state

The table has colours on a terminal, unless $NO_COLOR is set.

exit status:
  0   shown, whatever the states are; to test them, use `refresherd wait`
  64  there is no such app
  69  no daemon
  75  no answer in time
  77  you may not connect to the daemon's socket"""

TIMEOUT = 10.0
"""Seconds. The status of thousands of apps takes the daemon a moment."""

PERIOD = 1.0
"""Seconds between updates of --watch."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `status`."""
    parser.add_argument(
        "app", metavar="APP", type=app_name, nargs="?", help="only this app (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print the daemon's own JSON")
    parser.add_argument(
        "--watch", action="store_true", help="show it again every second until interrupted"
    )
    add_socket(parser)


def execute(arguments: Namespace, sleep: Callable[[float], None] = time.sleep) -> Exit:
    """Show the status once, or every second until interrupted."""
    screen = Screen(sys.stdout, os.environ)
    show = _show_json if arguments.json else partial(_show_table, screen, whole=not arguments.watch)
    show(_request(arguments))
    while arguments.watch:
        sleep(PERIOD)
        try:
            show(_request(arguments))
        except CommandError as error:  # the daemon may come back
            if arguments.json:
                print(f"refresherd status: {error}", file=sys.stderr)
            else:
                screen.draw([str(error)[: screen.width]])
    return Exit.OK


def _request(arguments: Namespace) -> bytes:
    daemon = Daemon(arguments.socket)
    return daemon.status(arguments.app, TIMEOUT) if arguments.app else daemon.statuses(TIMEOUT)


def _show_json(answer: bytes) -> None:
    print(answer.decode(errors="replace").rstrip("\n"), flush=True)


def _show_table(screen: Screen, answer: bytes, *, whole: bool) -> None:
    """Print all of the table, or redraw what fits the terminal."""
    width = None if whole else screen.width
    lines = table(read_statuses(answer), time.time(), colour=screen.colour, width=width)
    if whole:
        print("\n".join(lines))
    else:
        screen.draw(lines)
