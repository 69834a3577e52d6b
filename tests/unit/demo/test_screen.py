"""The live table must be readable on any terminal, and must not jump about."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from refresherd.demo.screen import frame, view_on
from refresherd.demo.status import REMEMBERED, AppStatus, Picture, Reads
from refresherd.demo.workspace import Workspace
from refresherd.domain.status_lines import Frame, status_lines
from support.app_fields import failing, fresh, stamp, starting

TIMES = {
    "issued_at": stamp(990),
    "expires_at": stamp(1010),
    "lifetime_seconds": 20.0,
    "outage_budget_seconds": 10.0,
}


def app(name: str) -> dict[str, Any]:
    """Return a fresh app's fields."""
    return fresh(name, **TIMES, next_refresh_at=stamp(1000))


NOW = 1_000.0

APPS = (
    AppStatus("app-1", app("app-1")),
    AppStatus("app-2", failing("app-2", **TIMES, next_refresh_at=stamp(1001)), all_failures=3),
    AppStatus("app-3", starting("app-3")),
)
PICTURE = Picture("https://127.0.0.1:8443", APPS, NOW, Reads(142, 4), elapsed=33.25, ends_in=None)
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


def test_it_is_the_status_pages_picture() -> None:
    """What the demo teaches must hold for the page and for `refresherd status`."""
    shown = [line[2:-2].rstrip() for line in drawn(PICTURE)]
    picture = status_lines(PICTURE.rows, Frame(75))
    assert shown[3:-4] == ["".join(piece.text for piece in line) for line in picture]
    assert shown[3] == "1 of 3 apps is in trouble"
    assert any(line.startswith("  What to do: check endpoint") for line in shown)


def test_the_parts_of_a_bar_are_named() -> None:
    """Whoever sees the first one cannot know what its lines mean."""
    assert "· used  ━ left  ─ outage budget  ┃ next refresh" in drawn(PICTURE)[-3]


def test_before_the_daemon_answers_the_frame_says_so() -> None:
    """No app and no trouble would be the wrong picture."""
    lines = drawn(replace(PICTURE, apps=(AppStatus("app-1"),)))
    assert "starting the daemon" in lines[3]


def test_the_edges_show_the_totals() -> None:
    """Endpoint and totals are at the top, the consumer's results and the time at the bottom."""
    lines = drawn(PICTURE)
    assert "https://127.0.0.1:8443" in lines[1]
    assert "12 refreshes   3 failures" in lines[1]
    assert "■■■" in lines[-2]
    assert "142 reads, 4 refused" in lines[-2]
    assert "33s · Ctrl-C ends it" in lines[-1]


def test_a_known_end_is_shown() -> None:
    """With --for nobody should wonder whether it hangs."""
    assert "ends in 26s" in drawn(replace(PICTURE, ends_in=26.75))[-1]


@given(rows=st.integers(14, 60), count=st.integers(1, 80))
def test_a_frame_never_outgrows_the_terminal(rows: int, count: int) -> None:
    """A frame that scrolls can't be drawn over; apps that don't fit are counted instead."""
    apps = tuple(AppStatus(name, app(name)) for name in map("app-{}".format, range(count)))
    lines = drawn(replace(PICTURE, apps=apps), rows=rows)
    assert len(lines) <= rows
    shown = sum(" fresh " in line and "app-" in line for line in lines)
    assert shown >= 1
    assert (f"and {count - shown} more" in "\n".join(lines)) == (shown < count)


def test_states_are_coloured() -> None:
    """Colours are what the eye finds first."""
    terminal = Terminal()
    terminal.console.print(frame(PICTURE, 79, 40))
    written = terminal.written()
    assert "\x1b[32mfresh\x1b[0m" in written
    assert "\x1b[33mretrying\x1b[0m" in written


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
    assert "40s · Ctrl-C" in second
    # The cursor goes up once for each line of the first table but the one it is in.
    assert second.count("\x1b[1A") == len(drawn(PICTURE, width=99)) - 1


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
    assert text.index("\x1b[2J") < text.index("# see the token change") < text.index("REFRESH IN")


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
