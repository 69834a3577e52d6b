"""The two ways to show the demo: a live table on a terminal, plain lines elsewhere."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Protocol, TextIO, TypeAlias

from refresherd.demo.changes import Change
from refresherd.demo.frame import frame
from refresherd.demo.guide import Guide
from refresherd.demo.picture import Picture
from refresherd.demo.screen import FAINT, NORMAL, Screen, calm
from refresherd.demo.wording import line


class View(Protocol):
    """Shows what there is to see."""

    def show(self, picture: Picture, changes: Iterable[Change]) -> None:
        """Show the picture, and what has changed since the last one."""


Open: TypeAlias = Callable[[Guide], AbstractContextManager[View]]
"""Begins to show, with the guide above."""


class Lines:
    """A line for each change."""

    def __init__(self, stream: TextIO, guide: Guide) -> None:
        self._stream = stream
        self._write(f"{guide.text()}\n")

    def show(self, picture: Picture, changes: Iterable[Change]) -> None:
        """Write the changes."""
        for change in changes:
            self._write(line(picture.elapsed, change))

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class LiveTable:
    """A table that is drawn anew for each picture."""

    def __init__(self, stream: TextIO, guide: Guide) -> None:
        self._screen = Screen(stream, lambda width: _faint_comments(guide.text(width)))

    def show(self, picture: Picture, changes: Iterable[Change]) -> None:
        """Draw the picture, in which the changes are seen."""
        del changes
        self._screen.draw(partial(frame, picture))


def view_on(stream: TextIO) -> Open:
    """Return the way that suits the stream."""
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return partial(_live_table, stream)
    return lambda guide: nullcontext(Lines(stream, guide))


@contextmanager
def _live_table(stream: TextIO, guide: Guide) -> Iterator[View]:
    with calm(stream):
        yield LiveTable(stream, guide)


def _faint_comments(text: str) -> str:
    return "\n".join(
        f"{FAINT}{line}{NORMAL}" if line.startswith("#") else line for line in text.splitlines()
    )
