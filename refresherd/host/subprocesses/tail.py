"""What a program said last, for people."""

import re
from textwrap import shorten

MOST_KEPT = 64 * 1024
"""Bytes; whatever is printed is read, or the program would block."""

LONGEST_LINE = 200

CUT_SHORT = re.compile(r"\A\S+")


class Tail:
    """The last that a program printed."""

    def __init__(self) -> None:
        self._printed = b""

    def take(self, piece: bytes) -> bool:
        """Take a piece; there may be any number."""
        self._printed = (self._printed + piece)[-MOST_KEPT:]
        return True

    def lines(self, most: int) -> str:
        """Return the last lines in one.

        Words stay whole or go: half a secret is none that the log would recognise.
        """
        text = self._printed.decode(errors="replace")
        if len(self._printed) == MOST_KEPT:
            text = CUT_SHORT.sub("", text, count=1)
        plain = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
        lines = [line for line in plain.split("\n") if line.strip()]
        return "; ".join(map(_shortened, lines[-most:]))

    def complaint(self, status: int, lines: int = 1) -> str:
        """Say how the program failed, by its exit status or less a signal, and what it said."""
        how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        said = self.lines(lines)
        return f"{how}: {said}" if said else how


def _shortened(line: str) -> str:
    return shorten(
        line, LONGEST_LINE, placeholder=" …", break_long_words=False, break_on_hyphens=False
    )
