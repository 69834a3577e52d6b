"""Draws frames on a terminal, each over the last one, without a flicker."""

import os
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TextIO

from rich.console import Console, RenderableType

USUAL_SIZE = (80, 24)
"""Columns and rows where the terminal tells none."""

WIDEST = 120

KEYBOARD = 0
"""Standard input; sys.stdin is None where it was closed."""

# ECMA-48's control sequences, and the synchronized output that terminals have agreed on since:
# those that know it show a frame only once it is whole, others ignore it.
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
BEGIN_FRAME, END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
FAINT, NORMAL = "\x1b[2m", "\x1b[22m"
CLEAR_SCREEN = "\x1b[H\x1b[2J"
CLEAR_LINE, CLEAR_BELOW = "\x1b[K", "\x1b[J"


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Return columns and rows; terminals without a window may say 0."""
    columns, rows = os.get_terminal_size(stream.fileno())
    return (columns, rows) if columns and rows else USUAL_SIZE


class Screen:
    """A part of the terminal below what was written before, as high as the last frame.

    Lines are written over, not cleared first; and what is above is left alone, so that it
    can be marked and copied. `above` returns that text for a width; after a change of the
    terminal's size it is written anew, because where its lines ended is lost.
    `size` returns the terminal's columns and rows.
    """

    def __init__(
        self,
        stream: TextIO,
        above: Callable[[int], str],
        size: Callable[[TextIO], tuple[int, int]] = terminal_size,
    ) -> None:
        self._stream = stream
        self._above = above
        self._ask_size = size
        self._console = Console(file=stream, force_terminal=True)
        self._size: tuple[int, int] | None = None
        self._height = 0

    def draw(self, render: Callable[[int], RenderableType]) -> None:
        """Draw what `render` returns for a number of rows."""
        size = self._ask_size(self._stream)
        start = f"\x1b[{self._height}F" if self._height else ""
        if size != self._size:
            start = ("" if self._size is None else CLEAR_SCREEN) + self._above(size[0]) + "\n\n"
            self._size = size
        lines = self._lines(render(size[1] - 1), *size)
        self._height = len(lines)
        drawn = "".join(f"{line}{CLEAR_LINE}\n" for line in lines)
        self._stream.write(f"{BEGIN_FRAME}{start}{drawn}{CLEAR_BELOW}{END_FRAME}")
        self._stream.flush()

    def _lines(self, renderable: RenderableType, columns: int, rows: int) -> list[str]:
        # In the last column, clearing the rest of a line would clear what was just written.
        self._console.width = min(columns - 1, WIDEST)
        with self._console.capture() as capture:
            self._console.print(renderable)
        return capture.get().splitlines()[: rows - 1]


@contextmanager
def calm(stream: TextIO) -> Iterator[None]:
    """Hide the cursor and what is typed: an echoed line end would move the frame."""
    stream.write(HIDE_CURSOR)
    try:
        with without_echo(KEYBOARD) if _in_foreground(KEYBOARD) else nullcontext():
            yield
    finally:
        stream.write(SHOW_CURSOR)
        stream.flush()


@contextmanager
def without_echo(keyboard: int) -> Iterator[None]:
    """Have the terminal of this descriptor not show what is typed, and forget it at the end."""
    before = termios.tcgetattr(keyboard)
    quiet = termios.tcgetattr(keyboard)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(keyboard, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        # What was typed meanwhile was not meant for the shell.
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


def _in_foreground(keyboard: int) -> bool:
    """Return whether the terminal is ours to set: in the background, another program sets it."""
    try:
        return os.tcgetpgrp(keyboard) == os.getpgrp()
    except OSError:
        return False  # no terminal, or not the one that this session is controlled from
