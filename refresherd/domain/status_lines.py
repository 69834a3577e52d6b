"""The status of apps as lines of text: the verdict, a table, and below each app its trouble.

A line consists of pieces, each with a style: a state, DIM, BOLD or none. `status` and the demo map
styles to colours in their own ways; nothing depends on colours alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from textwrap import wrap
from types import MappingProxyType
from typing import NamedTuple

from refresherd.domain import words
from refresherd.domain.app_row import AppRow
from refresherd.domain.life import Cell

DIM, BOLD = "dim", "bold"
"""The styles that are not states."""

LOST, TROUBLED = "expired", "retrying"
"""The styles of trouble that leaves consumers without a valid token, and of other trouble."""

NUMBERS: Mapping[str, str] = MappingProxyType(
    {
        "EXPIRES IN": "expires_in",
        "NEXT REFRESH IN": "next_refresh_in",
        "OUTAGE BUDGET": "outage_budget",
    }
)
"""Headings of columns, and the attributes of AppRow below them. A terminal that is too narrow loses
the bar first, then these columns from the last to the first."""

BAR, ASCII_BAR = "·━─┃", ".=-|"
"""The characters of a token's life, in the order of `Cell`."""

MIN_BAR, MAX_BAR = 12, 40
"""Columns of the bar, if there is one."""

GAP = "  "
"""Between columns, and before each line below an app."""

CUT = "..."


class Piece(NamedTuple):
    """A part of a line."""

    text: str
    style: str = ""


Line = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """The space that a picture has to fit into."""

    width: int | None = None
    """Columns; None for any number, and no bar."""
    height: int | None = None
    """Lines; None for any number."""
    bar: str = BAR


def status_lines(rows: Sequence[AppRow], frame: Frame, *, details: bool = False) -> list[Line]:
    """Return the apps in this order as a picture; with all details if wanted."""
    layout = _Layout(rows, frame)
    blocks = ([layout.row(row), *_below(row, frame.width, details=details)] for row in rows)
    verdict = _verdict(rows, frame.width)
    head = [*verdict, (), *layout.headings()] if rows else verdict
    room = None if frame.height is None else max(1, frame.height - len(head))
    lines = [*head, *_fitting(blocks, len(rows), room)]
    return [_clipped(line, frame.width) for line in lines[: frame.height]]


def table(rows: Sequence[AppRow]) -> list[Line]:
    """Return a heading, and exactly one line for each app, with what is wrong, however long."""
    lines = [tuple(map(Piece, ("APP", "STATE", *NUMBERS, "LAST ERROR")))]
    for row in rows:
        rest = map(Piece, (*_numbers(row), row.brief or words.NONE))
        lines.append((Piece(row.name), Piece(row.state, row.state), *rest))
    widths = [max(len(piece.text) for piece in column) for column in zip(*lines, strict=True)]
    return [
        _joined(((piece,), width) for piece, width in zip(line, widths, strict=True))
        for line in lines
    ]


def wrapped(text: str, width: int | None, style: str = "", indent: str = "") -> list[Line]:
    """Return a text as lines of at most `width` columns; None for any number."""
    room = len(text) + len(indent) if width is None else width
    # Paths and addresses stay whole where they fit, so that they can be copied.
    lines = wrap(text, max(1, room - len(indent)), subsequent_indent=GAP, break_on_hyphens=False)
    return [_clipped((Piece(indent), Piece(line, style)), width) for line in lines]


class _Layout:
    """Which columns there are, and how wide they are."""

    def __init__(self, rows: Sequence[AppRow], frame: Frame) -> None:
        self._bar = dict(zip(Cell, frame.bar, strict=True))
        self._headings = [heading.split(" ", 1) for heading in NUMBERS]
        columns = zip(self._headings, *(_numbers(row) for row in rows), strict=True)
        self._numbers = [
            max(len(text) for text in (*heading, *cells)) for heading, *cells in columns
        ]
        self._state = max(len(text) for text in ("STATE", *(row.state for row in rows)))
        self._name = max(len(text) for text in ("APP", *(row.name for row in rows)))
        self._bar_width = 0
        if frame.width is not None:
            self._fit(frame.width)

    def _fit(self, width: int) -> None:
        while self._numbers and self._taken() > width:
            self._numbers.pop()
        self._name = max(1, min(self._name, width - self._state - len(GAP)))
        room = width - self._taken() - len(GAP)
        self._bar_width = min(room, MAX_BAR) if room >= MIN_BAR else 0

    def _taken(self) -> int:
        widths = [self._name, self._state, *self._numbers]
        return sum(widths) + len(GAP) * (len(widths) - 1)

    def headings(self) -> list[Line]:
        """Return the lines above the table."""
        upper, lower = zip(*self._headings, strict=True)
        blank, life = Piece(""), (Piece("TOKEN'S LIFE", DIM),)
        lines = [
            self._line("", blank, (blank,), upper, DIM),
            self._line("APP", Piece("STATE", DIM), life, lower, DIM),
        ]
        return [line for line in lines if line]

    def row(self, row: AppRow) -> Line:
        """Return an app's line."""
        return self._line(row.name, Piece(row.state, row.state), self._life(row), _numbers(row))

    def _line(
        self, name: str, state: Piece, life: Line, numbers: Sequence[str], style: str = ""
    ) -> Line:
        named = Piece(_shortened(name, self._name), style)
        cells: list[tuple[Line, int]] = [((named,), self._name), ((state,), self._state)]
        if self._bar_width:
            cells.append((life, self._bar_width))
        pieces = ((Piece(text, style),) for text in numbers)
        return _joined([*cells, *zip(pieces, self._numbers, strict=False)])

    def _life(self, row: AppRow) -> Line:
        life = row.life
        if life is None:
            return (Piece(row.no_life, DIM),)
        styles = {Cell.OVER: DIM, Cell.REFRESH: BOLD}
        return tuple(
            Piece(self._bar[cell] * len(list(cells)), styles.get(cell, row.state))
            for cell, cells in groupby(life.cells(max(1, self._bar_width)))
        )


def _numbers(row: AppRow) -> tuple[str, ...]:
    return attrgetter(*NUMBERS.values())(row)


def _verdict(rows: Sequence[AppRow], width: int | None) -> list[Line]:
    """Return the headline, and whether consumers have valid tokens."""
    troubled, unready = sum(row.troubled for row in rows), sum(not row.ready for row in rows)
    headline = words.verdict(len(rows), troubled, unready)
    lost = sum(row.lost for row in rows)
    style = LOST if lost else TROUBLED if troubled else "starting" if unready else "fresh"
    lines = wrapped(headline, width, style)
    if rows[1:]:  # the line of a single app says the same
        lines += wrapped(words.consequence(troubled, lost, unready), width)
    return lines


def _below(row: AppRow, width: int | None, *, details: bool) -> Iterator[Line]:
    """Return the lines below an app's own: its trouble, and its details if wanted."""
    trouble = tuple(row.trouble) or ((row.delivery,) if row.delivery else ())
    style = LOST if row.lost else TROUBLED
    for number, text in enumerate(trouble):
        yield from wrapped(text, width, "" if number else style, GAP)
    if details:
        yield from [()] if trouble else []
        for term, fact in row.details:
            yield from wrapped(f"{term}: {fact}", width, indent=GAP)


def _fitting(blocks: Iterable[Sequence[Line]], apps: int, room: int | None) -> list[Line]:
    """Return the first apps' lines; if there is not room for all, how many more apps there are."""
    lines: list[tuple[int, Line]] = []
    for number, block in enumerate(blocks, 1):
        lines += ((number, line) for line in block)
        if room is not None and len(lines) > room:
            break
    else:
        return [line for _, line in lines]
    shown = lines[: room - 1]
    more = apps - (shown[-1][0] if shown else 0)
    cut = Piece(f"{CUT} and {words.count(more, 'more app')}" if more else CUT, DIM)
    return [*(line for _, line in shown), (cut,)]


def _joined(cells: Iterable[tuple[Line, int]]) -> Line:
    """Return columns as one line, given what each holds and its width."""
    line: list[Piece] = []
    blanks = ""
    for pieces, width in cells:
        length = sum(len(piece.text) for piece in pieces)
        if length:
            line += [Piece(blanks), *pieces]
            blanks = ""
        blanks += " " * (width - length) + GAP
    return tuple(piece for piece in line if piece.text)


def _shortened(name: str, width: int) -> str:
    """Return a name, without its middle if it is too long: names often differ in their ends."""
    if len(name) <= width:
        return name
    kept = max(0, width - len(CUT))
    return f"{name[: kept - kept // 2]}{CUT}{name[len(name) - kept // 2 :]}"[:width]


def _clipped(line: Line, width: int | None) -> Line:
    pieces = []
    for text, style in line:
        pieces.append(Piece(text[:width], style))
        width = None if width is None else max(0, width - len(text))
    return tuple(piece for piece in pieces if piece.text)
