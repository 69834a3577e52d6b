"""Frames are drawn over each other; what a terminal makes of it is what counts."""

import re
from io import StringIO
from typing import TextIO

from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from refresherd.demo.screen import BEGIN_FRAME, END_FRAME, Screen

CONTROL = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|(\n)|([^\x1b\n]+)")


class Terminal:
    """As much of a terminal as the screen makes use of, endlessly high."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = 0
        self._column = 0

    def feed(self, text: str) -> None:
        """Act on what was written."""
        for private, parameters, final, newline, plain in CONTROL.findall(text):
            if plain:
                line = self.lines[self._row].ljust(self._column)
                end = self._column + len(plain)
                self.lines[self._row] = line[: self._column] + plain + line[end:]
                self._column = end
            elif newline:
                self._row, self._column = self._row + 1, 0
                self.lines += [""] * (self._row + 1 - len(self.lines))
            elif not private:
                self._control(final, parameters)

    def _control(self, final: str, parameters: str) -> None:
        if final == "F":
            self._row, self._column = self._row - int(parameters), 0
        elif final == "H":
            self._row = self._column = 0
        elif final == "K":
            self.lines[self._row] = self.lines[self._row][: self._column]
        elif final == "J" and parameters == "2":
            self.lines = [""] * (self._row + 1)
        elif final == "J":
            del self.lines[self._row + 1 :]
            self.lines[self._row] = self.lines[self._row][: self._column]


class Window:
    """A window that the user may resize."""

    def __init__(self) -> None:
        self.size = (40, 12)
        self.stream = StringIO()
        self.terminal = Terminal()
        self.screen = Screen(self.stream, lambda width: f"above, {width} wide", self._size)

    def _size(self, _stream: TextIO) -> tuple[int, int]:
        return self.size

    def draw(self, *lines: str) -> str:
        """Draw a frame of these lines, and return what was written for it."""
        self.screen.draw(lambda _rows: Text("\n".join(lines)))
        written = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        self.terminal.feed(written)
        return written

    @property
    def seen(self) -> list[str]:
        """What is on the terminal, without the empty line that the cursor is in."""
        return [line.rstrip() for line in self.terminal.lines[:-1]]


FRAMES = st.lists(
    st.lists(st.text("abc", min_size=1, max_size=30), min_size=1, max_size=8),
    min_size=1,
    max_size=5,
)


@given(frames=FRAMES)
def test_only_the_last_frame_is_seen(frames: list[list[str]]) -> None:
    """A shorter line or frame must leave nothing of the longer one before it."""
    window = Window()
    for lines in frames:
        window.draw(*lines)
    assert window.seen == ["above, 40 wide", "", *frames[-1]]


def test_what_is_above_is_written_once() -> None:
    """Writing over it would undo the mark that somebody sets in order to copy it."""
    window = Window()
    assert "above" in window.draw("a")
    assert "above" not in window.draw("b")


def test_nothing_is_cleared_before_it_is_written() -> None:
    """A line that is empty for a moment flickers, and so does half a frame."""
    window = Window()
    window.draw("a", "b")
    written = window.draw("c", "d")
    assert written.startswith(BEGIN_FRAME)
    assert written.endswith(END_FRAME)
    assert not re.search(r"\x1b\[(2J|2K|1K|K[^\n])", written)


def test_another_size_starts_afresh() -> None:
    """A narrower window wraps what was there, and then nobody knows where the frame began."""
    window = Window()
    window.draw("a", "b")
    window.size = (20, 12)
    window.draw("c")
    assert window.seen == ["above, 20 wide", "", "c"]


def test_a_frame_that_is_too_high_is_cut() -> None:
    """The cursor can't go back to a line that was scrolled out of sight."""
    window = Window()
    window.draw(*"abcdefghijklmnop")
    assert window.seen[2:] == list("abcdefghijk")


def test_the_last_column_stays_free() -> None:
    """Clearing the rest of a full line would take its last character on some terminals."""
    window = Window()
    window.draw("x" * 40)
    assert window.seen[2] == "x" * 39
