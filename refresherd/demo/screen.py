"""The two views of the demo: a live table on a terminal, a line for each event elsewhere."""

import os
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from refresherd.demo.status import (
    REMEMBERED,
    TENTHS_BELOW,
    AppStatus,
    Picture,
    Reads,
    plural,
    span,
    whole_span,
)
from refresherd.demo.workspace import Workspace

STATE_STYLES = {
    "starting": "cyan",
    "fresh": "green",
    "retrying": "yellow",
    "expired": "red",
    "rejected": "bold magenta",
}

LINES_BESIDE_APPS = 7
"""Lines of a frame that belong to no app: its edges, headings, gaps, and the consumer."""

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
        drawn = frame(picture, min(console.width - 1, 120), console.height - 1)
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


def frame(picture: Picture, width: int, rows: int) -> Panel:
    """Return the picture, with as many of the apps as fit into `rows` lines."""
    apps, room = picture.apps, max(1, rows - LINES_BESIDE_APPS)
    # If they do not all fit, one line says how many more there are.
    shown = apps if len(apps) <= room else apps[: max(1, room - 1)]
    counts = Text.assemble(
        (plural(picture.refreshes, "refresh", "es"), "bold green"),
        "   ",
        (plural(picture.failures, "failure"), "bold yellow" if picture.failures else "dim"),
    )
    heading = Table.grid(expand=True)
    heading.add_column(no_wrap=True, overflow="ellipsis")
    heading.add_column(no_wrap=True, justify="right")
    heading.add_row(Text.assemble((" DSM ", "dim"), picture.endpoint), counts)
    parts: list[RenderableType] = [heading, "", _table(shown, picture.now)]
    if len(shown) < len(apps):
        parts.append(Text(f" … and {len(apps) - len(shown)} more", style="dim"))
    ends = "" if picture.ends_in is None else f" · ends in {span(picture.ends_in)}"
    return Panel(
        Group(*parts, "", _consumer(picture.reads)),
        width=width,
        border_style="blue",
        title=Text("refresherd demo", style="bold"),
        title_align="left",
        subtitle=Text(f"{span(picture.elapsed)}{ends} · Ctrl-C ends it", style="dim"),
        subtitle_align="right",
    )


def _table(apps: Iterable[AppStatus], now: float) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), collapse_padding=True, header_style="dim")
    # All widths but the bar's are fixed, so that nothing moves when a text changes.
    table.add_column("app", no_wrap=True, width=8)
    table.add_column("state", no_wrap=True, width=10)
    table.add_column("token's life", no_wrap=True, ratio=1)
    table.add_column("left", no_wrap=True, width=7, justify="right")
    table.add_column("next in", no_wrap=True, width=7, justify="right")
    table.add_column("token", no_wrap=True, width=5, justify="right")
    table.add_column("last result", no_wrap=True, width=17)
    for app in apps:
        table.add_row(
            app.name,
            Text(f"● {app.state}", style=STATE_STYLES.get(app.state, "")),
            LifeBar(app, now),
            whole_span(app.left(now)),
            whole_span(app.next_in(now)),
            str(app.generation or "-"),
            _last_result(app, now),
        )
    return table


@dataclass(frozen=True, slots=True)
class LifeBar:
    """What is left of a token's life, with a mark where the next refresh is due."""

    app: AppStatus
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, style = options.max_width, STATE_STYLES.get(self.app.state, "")
        issued, expires, due = self.app.issued_at, self.app.expires_at, self.app.next_refresh_at
        lifetime = 1.0 if issued is None or expires is None else max(1.0, expires - issued)
        share = min(1.0, (self.app.left(self.now) or 0.0) / lifetime)
        full, half = divmod(round(share * width * 2), 2)
        # rich's own bar tells the two parts apart by colour alone.
        bar = Text("━" * full + "╸" * half, style=style)
        bar.append("─" * (width - full - half), style="dim")
        if expires is not None and due is not None:
            cell = min(width - 1, max(0, int((expires - due) / lifetime * width)))
            bar = Text.assemble(bar[:cell], ("┃", "bold"), bar[cell + 1 :])
        yield bar


def _last_result(app: AppStatus, now: float) -> Text:
    if app.failures:
        times = f" x{app.failures}" if app.failures > 1 else ""
        return Text(f"{app.reason}{times}", style="yellow")
    if not app.method or app.issued_at is None:
        return Text(app.method or "-", style="dim")
    age = max(0.0, now - app.issued_at)
    # Tenths of a second would change all the time and draw the eye.
    return Text(f"{app.method} {f'{int(age)} s' if age < TENTHS_BELOW else span(age)} ago")


def _consumer(reads: Reads) -> Text:
    return Text.assemble(
        (" consumer ", "dim"),
        *(("■", "green" if accepted else "red") for accepted in reads.recent),
        ("·" * (REMEMBERED - len(reads.recent)), "dim"),
        f"  {plural(reads.total, 'read')}, ",
        (f"{reads.refused} refused", "bold red" if reads.refused else ""),
        no_wrap=True,
        overflow="ellipsis",
    )
