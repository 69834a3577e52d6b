"""The status of apps for people: a table, printed once or redrawn in place on a terminal."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from refresherd.cli.client.messages import Status

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

STATE_COLUMN = HEADINGS.index("STATE")
GAP = 2
"""Spaces between columns."""

COLOURS = {"starting": "36", "fresh": "32", "retrying": "33", "expired": "31", "rejected": "1;31"}
"""ANSI SGR parameters by state."""

NOTHING = "-"
MINUTE = 60
HOUR = 3600
DAY = 86400


def table(
    statuses: Iterable[Status], now: float, *, colour: bool = False, width: int | None = None
) -> list[str]:
    """Return the lines of the table, cut after `width` columns if that is given."""
    rows = [HEADINGS, *(_cells(status, now) for status in statuses)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths, colour=colour, width=width) for row in rows]


def duration(seconds: float) -> str:
    """Return a time as `9s`, `9m 58s`, `2h 05m` or `3d 04h`, rounded down."""
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole}s"
    if whole < HOUR:
        return f"{whole // MINUTE}m {whole % MINUTE:02d}s"
    if whole < DAY:
        return f"{whole // HOUR}h {whole % HOUR // MINUTE:02d}m"
    return f"{whole // DAY}d {whole % DAY // HOUR:02d}h"


def _cells(status: Status, now: float) -> tuple[str, ...]:
    left = status.seconds_left(now)
    due = None if status.next_refresh_at is None else status.next_refresh_at - now
    return (
        status.name,
        status.state,
        duration(left) if left else NOTHING,
        NOTHING if due is None else duration(due) if due >= 1 else "now",
        str(status.generation),
        str(status.failures),
        NOTHING if status.outage_budget is None else duration(status.outage_budget),
        status.last_error or NOTHING,
    )


def _line(row: Sequence[str], widths: Sequence[int], *, colour: bool, width: int | None) -> str:
    cells = [cell.ljust(size) for cell, size in zip(row, widths, strict=True)]
    line = (" " * GAP).join(cells).rstrip()[:width]
    start = widths[0] + GAP
    state = row[STATE_COLUMN]
    code = COLOURS.get(state)
    if not colour or code is None:
        return line
    end = start + len(state)
    return f"{line[:start]}\x1b[{code}m{line[start:end]}\x1b[0m{line[end:]}"


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
            self._write([*lines, ""])
            return
        most = shutil.get_terminal_size().lines - 1
        shown = list(lines) if len(lines) <= most else [*lines[: most - 1], "..."]
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._write([f"{back}\x1b[J{shown[0]}", *shown[1:]])
        self._drawn = len(shown)

    def _write(self, lines: Sequence[str]) -> None:
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()
