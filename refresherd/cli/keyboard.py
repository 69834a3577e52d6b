"""Single keys, typed on a terminal while a command shows something."""

import os
import select
import signal
import sys
import termios
import time
import tty
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TextIO

from refresherd.cli.errors import Exit


class Keyboard:
    """A context in which a terminal passes on each key at once, and does not echo it.

    It restores the terminal at the end, even if TERM ends the process. Without a terminal, or in
    the background, `wait` only waits.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._descriptor: int | None = None
        if stream is not None and stream.isatty():
            self._descriptor = stream.fileno()
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        if self._descriptor is not None:
            self._before = termios.tcgetattr(self._descriptor)
            self._handler = signal.signal(signal.SIGTERM, _terminated)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            if self._in_foreground(self._descriptor):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
            signal.signal(signal.SIGTERM, self._handler)

    def wait(self, seconds: float) -> str:
        """Return the key that is typed within some seconds, "" for none."""
        terminal = self._descriptor
        if terminal is None or not self._in_foreground(terminal):
            time.sleep(seconds)
            return ""
        tty.setcbreak(terminal, termios.TCSADRAIN)  # again: a shell may have changed it meanwhile
        if not select.select((terminal,), (), (), seconds)[0]:
            return ""
        return os.read(terminal, 1).decode("ascii", "replace")

    @staticmethod
    def _in_foreground(terminal: int) -> bool:
        """Return whether this process may use the terminal; the kernel would stop it otherwise."""
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        except OSError:  # the terminal is gone
            return False


def _terminated(_: int, __: FrameType | None) -> NoReturn:
    sys.exit(Exit.TERMINATED)
