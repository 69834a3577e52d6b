"""Where `status` is shown: a terminal on which it is redrawn in place, or a stream of lines."""

import shutil
from collections.abc import Mapping, Sequence
from typing import TextIO


class Screen:
    """Draws pictures of lines. `environ` may forbid colours: https://no-color.org."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._terminal = stream.isatty() and environ.get("TERM") != "dumb"
        self.colour = self._terminal and not environ.get("NO_COLOR")
        self._drawn = 0

    @property
    def width(self) -> int | None:
        """How many columns a line may have, None for as many as it takes."""
        return shutil.get_terminal_size().columns if self._terminal else None

    def draw(self, lines: Sequence[str]) -> None:
        """Draw in the place of the last picture, or below it where there is no place."""
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
