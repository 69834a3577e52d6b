"""Standard output as people see it: a terminal of some size, with colours or without, or none."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from refresherd.domain.status_lines import ASCII_BAR, BAR, BOLD, DIM, Frame, Line

COLOURS = {
    DIM: "2",
    BOLD: "1",
    "starting": "36",
    "fresh": "32",
    "retrying": "33",
    "expired": "31",
    "rejected": "1;31",
}
"""ANSI SGR parameters by style."""


class Screen:
    """Redraws lines in place on a terminal; on any other stream prints them one below the other.

    `environ` may forbid colours (https://no-color.org) or say that the terminal cannot redraw.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self.terminal = stream.isatty()
        """Whether a person is looking, and not a program."""
        self.redraws = self.terminal and environ.get("TERM") != "dumb"
        """Whether it can replace what it shows."""
        self._colour = self.redraws and not environ.get("NO_COLOR")
        self._drawn = 0
        self._width: int | None = None

    def frame(self, *, others: int | None = None) -> Frame:
        """Return what a picture has to fit into.

        Its height is limited only with `others`, the number of lines that are shown besides it.
        """
        bar = BAR if _can_write(self._stream, BAR) else ASCII_BAR
        if not self.terminal:
            return Frame(bar=bar)
        width, lines = shutil.get_terminal_size()
        # The line below the picture is the cursor's.
        return Frame(width, None if others is None else max(1, lines - 1 - others), bar)

    def text(self, lines: Iterable[Line]) -> str:
        """Return lines as text, with colours if the terminal has them."""
        return "".join(f"{''.join(map(self._painted, line))}\n" for line in lines)

    def print(self, lines: Iterable[Line]) -> None:
        """Print lines below those that are there."""
        print(self.text(lines), end="", file=self._stream, flush=True)

    def draw(self, lines: Sequence[Line]) -> None:
        """Replace the lines drawn last; what does not fit the terminal's height is cut."""
        if not self.redraws:
            return self.print([*lines, ()])
        width, height = shutil.get_terminal_size()
        shown = lines[: height - 1]
        if self._width not in {None, width}:
            # A terminal of another width has wrapped lines, so nobody knows where they begin.
            back = "\x1b[H\x1b[2J"
        else:
            back = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else "\x1b[J"
        print(back, self.text(shown), sep="", end="", file=self._stream, flush=True)
        self._drawn, self._width = len(shown), width
        return None

    def _painted(self, piece: tuple[str, str]) -> str:
        text, style = piece
        if not self._colour or style not in COLOURS:
            return text
        return f"\x1b[{COLOURS[style]}m{text}\x1b[0m"


def _can_write(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
