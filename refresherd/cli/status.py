"""`refresherd status`: show which apps are in trouble, why, since when, and what to do."""

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline
from refresherd.cli.client.messages import read_apps
from refresherd.cli.errors import CommandError, Exit
from refresherd.cli.options import add_app, add_socket
from refresherd.cli.screen import Screen
from refresherd.domain.app_row import AppRow
from refresherd.domain.status_lines import DIM, Frame, Line, Piece, status_lines, table, wrapped

DESCRIPTION = """\
Apps in trouble come first, each with what to do. The states of an app:
  rejected  DSM refused the credential: replace it
  expired   no valid token any more
  starting  no token yet
  retrying  a valid token, but the last attempt to renew it failed
  fresh     a valid token
The bar shows a token's life, from its issue to its expiry. Dots stand for time
that has passed, the line for time that is left. The upright marks the next
refresh. The thin end is the outage budget: how long DSM may fail before the
token expires.
Without a terminal, there is exactly one line for each app. With APP, all
details are shown."""

EPILOG = """\
examples:
  refresherd status --watch
  refresherd status payments
  refresherd status payments --json | jq -r .state

It has colours on a terminal, unless $NO_COLOR is set.

exit status:
  0   shown, whatever the states are; to test them, use `refresherd wait`
  64  there is no such app
  69  no daemon
  75  no answer in time
  77  you may not connect to the daemon's socket"""

TIMEOUT = 10.0
"""Seconds. The status of thousands of apps takes the daemon a moment."""

WATCH_TIMEOUT = 2.0
"""Seconds for each update of --watch, during which no key is noticed."""

PERIOD = 1.0
"""Seconds between updates of --watch."""

QUIT = ("q", "Q")


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `status`."""
    add_app(parser, "?", "only this app, with all details (default: all apps)")
    parser.add_argument("--json", action="store_true", help="print the daemon's own JSON")
    parser.add_argument(
        "--watch", action="store_true", help="show it again every second; q or Ctrl-C ends it"
    )
    add_socket(parser)


def execute(arguments: Namespace, wait: Callable[[float], object] | None = None) -> Exit:
    """Show the status once, or every second until interrupted.

    `wait` waits for some seconds, or for a key and returns it.
    """
    daemon, app = Daemon(arguments.socket), arguments.app or ""
    view = JsonView() if arguments.json else View(details=bool(app))
    view.show(daemon.status(app, Deadline(TIMEOUT)), watching=arguments.watch)
    if not arguments.watch:
        return Exit.OK
    from refresherd.cli.keyboard import Keyboard

    with Keyboard(sys.stdin) as keyboard:
        while (wait or keyboard.wait)(PERIOD) not in QUIT:
            try:
                view.show(daemon.status(app, Deadline(WATCH_TIMEOUT)), watching=True)
            except CommandError as error:  # the daemon may come back
                view.fail(error)
    return Exit.OK


class View:
    """Shows the status to people."""

    def __init__(self, *, details: bool) -> None:
        self._details = details
        self._screen = Screen(sys.stdout, os.environ)
        self._newest: Sequence[AppRow] = ()
        self._as_of = ""

    def show(self, answer: bytes, *, watching: bool) -> None:
        """Show the daemon's answer, in place of the one before."""
        now = time.time()
        rows = sorted(read_apps(answer, partial(AppRow, now=now)), key=attrgetter("urgency"))
        if not watching:
            return self._screen.print(self._lines(rows, self._screen.frame()))
        self._newest, self._as_of = rows, time.strftime("%H:%M:%S UTC", time.gmtime(now))
        lines = self._lines(rows, self._screen.frame(others=1))
        return self._screen.draw([*lines, (Piece(f"As of {self._as_of}", DIM),)])

    def fail(self, error: CommandError) -> None:
        """Show why there is no newer answer, above the newest one."""
        if not self._screen.redraws:
            return self._screen.draw([(Piece(str(error)),)])
        facts = f"This is its status as of {self._as_of}; trying again."
        width = self._screen.frame().width
        above = wrapped(f"The daemon does not answer. {facts}", width, "retrying")
        above += wrapped(f"{error}", width)
        lines = self._lines(self._newest, self._screen.frame(others=len(above)))
        return self._screen.draw([*above, *lines])

    def _lines(self, rows: Sequence[AppRow], frame: Frame) -> list[Line]:
        if self._screen.terminal or self._details:
            return status_lines(rows, frame, details=self._details)
        return table(rows)


class JsonView:
    """Shows the status to programs."""

    def show(self, answer: bytes, *, watching: bool) -> None:  # noqa: ARG002  # as View
        """Print the daemon's answer as it is."""
        sys.stdout.buffer.write(answer)  # UTF-8, whatever the terminal's encoding is
        sys.stdout.flush()

    def fail(self, error: CommandError) -> None:
        """Print why there is no newer answer."""
        print(f"refresherd status: {error}", file=sys.stderr)
