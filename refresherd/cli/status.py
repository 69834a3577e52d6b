"""`refresherd status`: show each app's state, expiry, next refresh and last error."""

import os
import shutil
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TextIO

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline
from refresherd.cli.client.messages import Status, read_statuses
from refresherd.cli.errors import CommandError, Exit
from refresherd.cli.options import add_app, add_socket

DESCRIPTION = """\
The states of an app:
  starting  no token yet
  fresh     a valid token
  retrying  a valid token, but the last attempt to renew it failed
  expired   no valid token
  rejected  DSM refused the credential: replace it
The outage budget is how long DSM may be unreachable before a token expires."""

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

WATCH_TIMEOUT = 2.0
"""Seconds for each update of --watch, during which no key is noticed."""

PERIOD = 1.0
"""Seconds between updates of --watch."""

HEADINGS = (
    "APP",
    "STATE",
    "EXPIRES IN",
    "NEXT REFRESH IN",
    "GENERATION",
    "FAILURES",
    "OUTAGE BUDGET",
    "LAST ERROR",
)

ERROR = HEADINGS.index("LAST ERROR")

DISPENSABLE = tuple(
    map(
        HEADINGS.index,
        ("GENERATION", "FAILURES", "OUTAGE BUDGET", "NEXT REFRESH IN", "EXPIRES IN"),
    )
)
"""Columns that make room for the last error on a narrow terminal, in this order."""

GAP = "  "
"""Between columns."""

QUIT = ("q", "Q")

COLOURS = {"starting": "36", "fresh": "32", "retrying": "33", "expired": "31", "rejected": "1;31"}
"""ANSI SGR parameters by state."""

FRESH = "fresh"

NOTHING = "-"


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `status`."""
    add_app(parser, "?", "only this app (default: all)")
    parser.add_argument("--json", action="store_true", help="print the daemon's own JSON")
    parser.add_argument(
        "--watch", action="store_true", help="show it again every second; q or Ctrl-C ends it"
    )
    add_socket(parser)


def execute(arguments: Namespace, wait: Callable[[float], object] | None = None) -> Exit:
    """Show the status once, or every second until interrupted.

    `wait` waits for some seconds, or for a key and returns it.
    """
    daemon, screen = Daemon(arguments.socket), Screen(sys.stdout, os.environ)

    def show(timeout: float) -> None:
        answer = daemon.status(arguments.app or "", Deadline(timeout))
        if arguments.json:
            sys.stdout.buffer.write(answer)  # UTF-8, whatever the terminal's encoding is
            sys.stdout.flush()
            return
        width = screen.width if arguments.watch else None
        lines = table(read_statuses(answer), time.time(), colour=screen.colour, width=width)
        if arguments.watch:
            screen.draw(lines)
        else:
            print("\n".join(lines))

    show(TIMEOUT)
    if not arguments.watch:
        return Exit.OK
    from refresherd.cli.keyboard import Keyboard

    with Keyboard(sys.stdin) as keyboard:
        while (wait or keyboard.wait)(PERIOD) not in QUIT:
            try:
                show(WATCH_TIMEOUT)
            except CommandError as error:  # the daemon may come back
                if arguments.json:
                    print(f"refresherd status: {error}", file=sys.stderr)
                else:
                    screen.draw([str(error)[: screen.width]])
    return Exit.OK


def table(
    statuses: Iterable[Status], now: float, *, colour: bool = False, width: int | None = None
) -> list[str]:
    """Return the lines of the table; if `width` is given, what fits into so many columns."""
    rows = [HEADINGS, *(_cells(status, now) for status in statuses)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = _shown(widths, width)
    lines = []
    for row in rows:
        line = GAP.join(row[column].ljust(widths[column]) for column in shown).rstrip()[:width]
        state, start = row[1], widths[0] + len(GAP)
        if colour and state in COLOURS:
            end = start + len(state)
            line = f"{line[:start]}\x1b[{COLOURS[state]}m{line[start:end]}\x1b[0m{line[end:]}"
        lines.append(line)
    return lines


def _shown(widths: Sequence[int], width: int | None) -> list[int]:
    """Return the columns to show: the last error gets what it needs, up to half of the width."""
    shown = list(range(len(widths)))
    if width is not None:
        needed = [*widths[:ERROR], min(widths[ERROR], width // 2)]
        for column in DISPENSABLE:
            if sum(needed[one] for one in shown) + len(GAP) * (len(shown) - 1) <= width:
                break
            shown.remove(column)
    return shown


def _cells(status: Status, now: float) -> tuple[str, ...]:
    due = None if status.next_refresh_at is None else status.next_refresh_at - now
    return (
        status.name,
        status.state,
        _expiry(status, now),
        NOTHING if due is None else duration(due) if due >= 1 else "now",
        str(status.generation),
        str(status.failures),
        NOTHING if status.outage_budget is None else duration(status.outage_budget),
        status.last_error or _undelivered(status) or NOTHING,
    )


def _undelivered(status: Status) -> str:
    """Return why consumers do not have an app's valid token, "" if they do."""
    return "" if status.ready or status.state != FRESH else "; ".join(status.reasons)


def _expiry(status: Status, now: float) -> str:
    if left := status.seconds_left(now):
        return duration(left)
    if status.expires_at is None or status.expires_at > now:
        return NOTHING
    largest, *_ = duration(now - status.expires_at).split()
    return f"expired {largest} ago"


def duration(seconds: float) -> str:
    """Return a time as `9s`, `9m 58s`, `2h 05m` or `3d 04h`, rounded down."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02d}h"
    if hours:
        return f"{hours}h {minute:02d}m"
    return f"{minutes}m {second:02d}s" if minutes else f"{second}s"


class Screen:
    """Redraws lines in place on a terminal; on any other stream prints them one below the other.

    `environ` may forbid colours (https://no-color.org) or say that the terminal cannot redraw.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._terminal = stream.isatty() and environ.get("TERM") != "dumb"
        self.colour = self._terminal and not environ.get("NO_COLOR")
        self._drawn = 0

    @property
    def width(self) -> int | None:
        """The terminal's columns; None if lines may be of any length."""
        return shutil.get_terminal_size().columns if self._terminal else None

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the lines drawn last, cutting what does not fit the terminal's height."""
        if not self._terminal:
            print(*lines, "", sep="\n", file=self._stream, flush=True)
            return
        most = shutil.get_terminal_size().lines - 1
        shown = lines if len(lines) <= most else [*lines[: most - 1], "..."]
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        print(f"{up}\x1b[J", "\n".join(shown), sep="", file=self._stream, flush=True)
        self._drawn = len(shown)
