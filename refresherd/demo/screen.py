"""The two views of the demo: a live table on a terminal, a line for each event elsewhere."""

import os
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from refresherd.demo.status import REMEMBERED, Picture, Reads
from refresherd.demo.workspace import Workspace
from refresherd.domain.durations import span
from refresherd.domain.status_lines import (
    ASCII_BAR,
    BAR,
    BOLD,
    DIM,
    Frame,
    Line,
    Piece,
    status_lines,
)
from refresherd.domain.words import count

STYLES = {
    DIM: "dim",
    BOLD: "bold",
    "starting": "cyan",
    "fresh": "green",
    "retrying": "yellow",
    "expired": "red",
    "rejected": "bold red",
}
"""rich's styles for those of `status_lines`."""

LINES_BESIDE_APPS = 7
"""Lines of a frame that do not show the status: its edges, DSM, the legend, the consumer, gaps."""

COLUMNS_BESIDE_APPS = 4
"""Columns that the edges take."""

KEYBOARD = 0
"""Standard input; sys.stdin is None if it was closed."""

BEGIN_FRAME, END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronized output: a terminal that supports it shows a frame only once it is whole."""

Show = Callable[[Picture, Iterable[str]], None]
"""Shows the newest picture, and a line for each event since the one before."""

OpenView = Callable[[Workspace], AbstractContextManager[Show]]
"""Opens a view, with the guide at its top."""


def view_on(console: Console) -> OpenView:
    """Return the live table for an interactive terminal, otherwise lines."""
    return partial(_live_table if console.is_interactive else _lines, console)


@contextmanager
def _lines(console: Console, workspace: Workspace) -> Iterator[Show]:
    def show(picture: Picture, events: Iterable[str]) -> None:
        for event in events:
            print(f"{picture.elapsed:6.1f} s  {event}", file=console.file, flush=True)

    print(f"{workspace.guide()}\n", file=console.file, flush=True)
    yield show


@contextmanager
def _live_table(console: Console, workspace: Workspace) -> Iterator[Show]:
    live = Live(
        console=console,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
    size: tuple[int, int] | None = None

    def show(picture: Picture, _events: Iterable[str]) -> None:
        nonlocal size
        # The last column and line stay free, so that no terminal wraps or scrolls.
        bar = BAR if console.encoding.startswith("utf") else ASCII_BAR
        drawn = frame(picture, min(console.width - 1, 120), console.height - 1, bar)
        console.file.write(BEGIN_FRAME)
        if console.size != size:
            if size is not None:
                # A terminal of another size may have wrapped any line, so all is drawn again.
                console.clear()
            guide = Text(f"{workspace.guide(console.width)}\n")
            guide.highlight_regex(r"(?m)^#.*$", "dim")
            console.print(guide, soft_wrap=True)
            size = console.size
        live.update(drawn, refresh=True)
        console.file.write(END_FRAME)
        console.file.flush()

    with without_echo(KEYBOARD) if _in_foreground(KEYBOARD) else nullcontext(), live:
        yield show


@contextmanager
def without_echo(keyboard: int) -> Iterator[None]:
    """Make the terminal of this descriptor not show what is typed: it would move the frame."""
    before = termios.tcgetattr(keyboard)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(keyboard, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        # Flushed, because what was typed meanwhile was not meant for the shell.
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


def _in_foreground(keyboard: int) -> bool:
    """Return whether we may set the terminal: in the background, another program sets it."""
    try:
        return os.tcgetpgrp(keyboard) == os.getpgrp()
    except OSError:
        return False  # no terminal, or not this session's


def frame(picture: Picture, width: int, height: int, bar: str = BAR) -> Panel:
    """Return the picture as a box that is no larger than this, with as many apps as fit."""
    counts = Text.assemble(
        (count(picture.refreshes, "refresh", "es"), "bold green"),
        "   ",
        (count(picture.failures, "failure"), "bold yellow" if picture.failures else "dim"),
    )
    heading = Table.grid(expand=True)
    heading.add_column(no_wrap=True, overflow="ellipsis")
    heading.add_column(no_wrap=True, justify="right")
    heading.add_row(Text.assemble(("DSM ", "dim"), picture.endpoint), counts)
    room = Frame(width - COLUMNS_BESIDE_APPS, max(1, height - LINES_BESIDE_APPS), bar)
    lines = status_lines(picture.rows, room) if picture.rows else [(Piece("starting the daemon"),)]
    ends = "" if picture.ends_in is None else f" · ends in {span(picture.ends_in)}"
    return Panel(
        Group(heading, "", *map(_text, lines), "", _legend(bar), _consumer(picture.reads)),
        width=width,
        border_style="blue",
        title=Text("refresherd demo", style="bold"),
        title_align="left",
        subtitle=Text(f"{span(picture.elapsed)}{ends} · Ctrl-C ends it", style="dim"),
        subtitle_align="right",
    )


def _text(line: Line) -> Text:
    return Text.assemble(*((text, STYLES.get(style, "")) for text, style in line), no_wrap=True)


def _legend(bar: str) -> Text:
    names = ("used", "left", "outage budget", "next refresh")
    text = "  ".join(f"{sign} {name}" for sign, name in zip(bar, names, strict=True))
    return Text.assemble(("bars     ", "dim"), text, no_wrap=True, overflow="ellipsis")


def _consumer(reads: Reads) -> Text:
    return Text.assemble(
        ("consumer ", "dim"),
        *(("■", "green" if accepted else "red") for accepted in reads.recent),
        ("·" * (REMEMBERED - len(reads.recent)), "dim"),
        f"  {count(reads.total, 'read')}, ",
        (f"{reads.refused} refused", "bold red" if reads.refused else ""),
        no_wrap=True,
        overflow="ellipsis",
    )
