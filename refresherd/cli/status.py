"""`refresherd status`: each app's state, expiry, next refresh and last error."""

import argparse
import os
import sys
import time
from collections.abc import Callable

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.failures import CommandError
from refresherd.cli.client.statuses import read
from refresherd.cli.exits import Exit
from refresherd.cli.screen import Screen
from refresherd.cli.table import table

PATIENCE = 10.0
"""Seconds; the status of thousands of apps takes a daemon a moment."""

PERIOD = 1.0
"""Seconds from one picture to the next."""


def execute(arguments: argparse.Namespace, sleep: Callable[[float], None] = time.sleep) -> Exit:
    """Show the status once, or again and again until interrupted."""
    daemon = Daemon(arguments.socket)
    view = JsonView() if arguments.json else TableView()
    view.show(_answer(daemon, arguments.app), whole=not arguments.watch)
    while arguments.watch:
        sleep(PERIOD)
        try:
            view.show(_answer(daemon, arguments.app), whole=False)
        except CommandError as error:
            # Whoever watches sees the daemon come back.
            view.complain(str(error))
    return Exit.OK


class JsonView:
    """Shows the daemon's own JSON, a line each time."""

    def show(self, answer: bytes, *, whole: bool) -> None:  # noqa: ARG002  # for both views
        """Show an answer."""
        print(answer.decode(errors="replace").rstrip("\n"), flush=True)

    def complain(self, message: str) -> None:
        """Say why there is nothing to show."""
        print(f"refresherd status: {message}", file=sys.stderr)


class TableView:
    """Shows a table for people: whole, or cut to the terminal and redrawn in place."""

    def __init__(self) -> None:
        self._screen = Screen(sys.stdout, os.environ)

    def show(self, answer: bytes, *, whole: bool) -> None:
        """Show an answer."""
        width = None if whole else self._screen.width
        lines = table(read(answer), time.time(), colour=self._screen.colour, width=width)
        if whole:
            print("\n".join(lines))
        else:
            self._screen.draw(lines)

    def complain(self, message: str) -> None:
        """Say why there is nothing to show."""
        self._screen.draw([message[: self._screen.width]])


def _answer(daemon: Daemon, app: str | None) -> bytes:
    return daemon.statuses(PATIENCE) if app is None else daemon.status(app, PATIENCE)
