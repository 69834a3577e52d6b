"""The live table must be readable on any terminal, and must not jump about."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from refresherd.demo.screen import LifeBar, frame, view_on
from refresherd.demo.status import REMEMBERED, AppStatus, Picture, Reads
from refresherd.demo.workspace import Workspace

APPS = (
    AppStatus("app-1", "fresh", 7, 1000, 1020, 1011.2, method="reauth"),
    AppStatus("app-2", "retrying", 8, 992, 1012, 1004.3, 3, "server_error", all_failures=3),
    AppStatus("app-3", "expired", 3, 980, 1000, 1004, method="reauth"),
    AppStatus("app-4"),
    AppStatus("app-5", "rejected", next_refresh_at=2803.5, failures=1, reason="rejected"),
    AppStatus("app-6", "fresh", 1, 1003, 1023, method="login"),
    AppStatus("app-7", "starting", 2, method="reauth"),
)
PICTURE = Picture(
    "https://127.0.0.1:8443", APPS, 1003.5, Reads(142, 4), elapsed=33.25, ends_in=None
)
PICTURE.reads.recent.extend((True, False, True))

WORKSPACE = Workspace(Path("/demo"), "https://127.0.0.1:8443", 9749, {"app-1": "key"}, 20.0)


class Terminal:
    """A console that reads nothing of the environment, and what is written to it."""

    def __init__(self, width: int = 100, height: int = 60, term: str = "xterm") -> None:
        self.stream = StringIO()
        self.console = Console(
            file=self.stream,
            width=width,
            height=height,
            force_terminal=True,
            color_system="256",
            no_color=False,
            _environ={"TERM": term},
        )

    def written(self) -> str:
        """Return what was written since the last time."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text


def drawn(picture: Picture, width: int = 79, rows: int = 40) -> list[str]:
    """Return the frame's lines as text."""
    stream = StringIO()
    console = Console(
        file=stream, width=width, color_system=None, force_terminal=False, _environ={}
    )
    console.print(frame(picture, width, rows))
    return stream.getvalue().splitlines()


def row(app: str, picture: Picture = PICTURE, width: int = 79) -> str:
    """Return the line of an app."""
    (found,) = (line for line in drawn(picture, width) if f" {app} " in line)
    return found


@pytest.mark.parametrize("width", [79, 119])
def test_each_app_is_shown_with_all_that_matters(width: int) -> None:
    """On a terminal of 80 columns nothing may be cut off, on a wider one neither."""
    assert not [line for line in drawn(PICTURE, width) if "…" in line]
    for word in ("● fresh", "17 s", " 8 s", " 7 ", "reauth 3 s ago"):
        assert word in row("app-1", width=width)
    for word in ("● retrying", " 9 s", " 1 s", "server_error x3"):
        assert word in row("app-2", width=width)
    assert "● expired" in row("app-3", width=width)
    assert "● starting" in row("app-4", width=width)
    for word in ("● rejected", "30m 00s", "rejected"):
        assert word in row("app-5", width=width)
    assert "login 0 s ago" in row("app-6", width=width)
    assert "reauth" in row("app-7", width=width)


def test_the_edges_show_the_totals() -> None:
    """Endpoint and totals are at the top, the consumer's results and the time at the bottom."""
    lines = drawn(PICTURE)
    assert "https://127.0.0.1:8443" in lines[1]
    assert "16 refreshes   3 failures" in lines[1]
    assert "■■■" in lines[-2]
    assert "142 reads, 4 refused" in lines[-2]
    assert "33.2 s · Ctrl-C ends it" in lines[-1]


def test_an_age_has_no_tenths() -> None:
    """A number that changes all the time draws the eye, so it had better matter."""
    assert "reauth 1m 40s ago" in row("app-1", replace(PICTURE, now=1100.0))


def test_a_known_end_is_shown() -> None:
    """With --for nobody should wonder whether it hangs."""
    assert "ends in 26.8 s" in drawn(replace(PICTURE, ends_in=26.75))[-1]


@given(rows=st.integers(9, 60), count=st.integers(1, 80))
def test_a_frame_never_outgrows_the_terminal(rows: int, count: int) -> None:
    """A frame that scrolls can't be drawn over; apps that don't fit are counted instead."""
    apps = tuple(AppStatus(f"app-{number}") for number in range(1, count + 1))
    lines = drawn(replace(PICTURE, apps=apps), rows=rows)
    assert len(lines) <= rows
    shown = sum("● starting" in line for line in lines)
    assert shown >= 1
    assert (f"and {count - shown} more" in "\n".join(lines)) == (shown < count)


def bar(app: AppStatus, now: float, width: int, *, no_color: bool = False) -> str:
    """Return an app's bar as text."""
    console = Console(
        file=StringIO(),
        width=width,
        force_terminal=True,
        color_system="256",
        no_color=no_color,
        _environ={},
    )
    (line,) = console.render_lines(LifeBar(app, now), console.options, pad=False)
    return "".join(segment.text for segment in line)


@given(
    issued=st.floats(0, 2000),
    life=st.floats(0, 99),
    due=st.floats(0, 2100),
    width=st.integers(1, 99),
)
def test_a_bar_is_always_as_wide_as_its_column(
    issued: float, life: float, due: float, width: int
) -> None:
    """Clocks may disagree on what is left; the table must not fall apart over it."""
    app = AppStatus("a", "fresh", 1, issued, issued + life, due)
    assert len(bar(app, 1000.0, width)) == width


def test_a_bar_shrinks_to_its_mark() -> None:
    """The refresh comes where the bar meets the mark, so that an eye can see it coming."""
    app = AppStatus("a", "fresh", 1, 1000.0, 1020.0, 1010.0)
    assert bar(app, 1000.0, 10) == "━━━━━┃━━━━"
    assert bar(app, 1005.0, 10, no_color=True) == "━━━━━┃━╸──"
    assert bar(app, 1010.0, 10, no_color=True) == "━━━━━┃────"
    assert bar(AppStatus("a"), 1000.0, 10, no_color=True) == "─" * 10


def test_the_guide_is_written_once_and_the_table_in_its_place() -> None:
    """Whoever marks a command in order to copy it must not lose the mark to the next picture."""
    terminal = Terminal()
    with view_on(terminal.console)(WORKSPACE) as show:
        show(PICTURE, ())
        first = terminal.written()
        show(replace(PICTURE, elapsed=40.0), ())
        second = terminal.written()
    assert "# see the token change" in first
    assert "app-1" in first
    assert "# see" not in second
    assert "40.0 s" in second
    # The cursor goes up once for each line of the first table but the one it is in.
    assert second.count("\x1b[1A") == len(APPS) + 6


def test_a_frame_appears_only_once_it_is_whole() -> None:
    """The old frame is erased before the new one is written, which must not be visible."""
    terminal = Terminal()
    with view_on(terminal.console)(WORKSPACE) as show:
        show(PICTURE, ())
        terminal.written()
        show(PICTURE, ())
        text = terminal.written()
    assert text.startswith("\x1b[?2026h")
    assert text.endswith("\x1b[?2026l")


def test_another_size_starts_afresh() -> None:
    """A narrower window wraps lines, and then nobody knows where the table began."""
    terminal = Terminal()
    with view_on(terminal.console)(WORKSPACE) as show:
        show(PICTURE, ())
        terminal.written()
        terminal.console.width = 90
        show(PICTURE, ())
        text = terminal.written()
    assert "\x1b[2J\x1b[H" in text
    assert text.index("\x1b[2J") < text.index("# see the token change") < text.index("● fresh")


def test_the_cursor_is_hidden_for_a_while_only() -> None:
    """A shell without a cursor is a poor thing to leave behind."""
    terminal = Terminal()
    with view_on(terminal.console)(WORKSPACE):
        assert terminal.written() == "\x1b[?25l"
    assert terminal.written().endswith("\x1b[?25h")


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(term: str) -> None:
    """A table that is drawn over itself would be a mess there, and so it would be in a file."""
    terminal = Terminal(width=20, term=term)
    with view_on(terminal.console)(WORKSPACE) as show:
        terminal.written()
        show(PICTURE, ["app-1: fresh -> retrying, which is longer than the terminal is wide"])
        show(PICTURE, [])
    assert terminal.written() == (
        "  33.2 s  app-1: fresh -> retrying, which is longer than the terminal is wide\n"
    )


def test_as_many_reads_are_drawn_as_there_is_room_for() -> None:
    """The row of squares has the same width from the first read on."""
    for count in (0, 5, 100):
        reads = Reads(count)
        reads.recent.extend([True] * count)
        line = drawn(replace(PICTURE, reads=reads))[-2]
        assert line.count("■") + line.count("·") == REMEMBERED
