"""The apps' status as a table for people."""

from collections.abc import Iterable, Sequence

from refresherd.cli.client.statuses import Status

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
TIGHT = 2
"""Spaces between columns."""

COLOURS = {
    "starting": "36",
    "fresh": "32",
    "retrying": "33",
    "expired": "31",
    "rejected": "1;31",
}
"""States as ANSI's SGR parameters."""

NOTHING = "-"
MINUTE = 60
HOUR = 3600
DAY = 86400


def table(
    statuses: Iterable[Status], now: float, *, colour: bool = False, width: int | None = None
) -> list[str]:
    """Return the table's lines, cut to a width in columns where one is given."""
    rows = [HEADINGS, *(_cells(status, now) for status in statuses)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths, colour=colour, width=width) for row in rows]


def span(seconds: float) -> str:
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
    left = status.left(now)
    due = None if status.next_refresh_at is None else status.next_refresh_at - now
    return (
        status.name,
        status.state,
        span(left) if left else NOTHING,
        NOTHING if due is None else span(due) if due >= 1 else "now",
        str(status.generation),
        str(status.failures),
        NOTHING if status.outage_budget is None else span(status.outage_budget),
        status.last_error or NOTHING,
    )


def _line(row: Sequence[str], widths: Sequence[int], *, colour: bool, width: int | None) -> str:
    cells = [cell.ljust(size) for cell, size in zip(row, widths, strict=True)]
    line = (" " * TIGHT).join(cells).rstrip()[:width]
    start = widths[0] + TIGHT
    state = row[STATE_COLUMN]
    code = COLOURS.get(state)
    if not colour or code is None:
        return line
    end = start + len(state)
    return f"{line[:start]}\x1b[{code}m{line[start:end]}\x1b[0m{line[end:]}"
