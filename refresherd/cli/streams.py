"""Standard output and error as commands can rely on them, however they were started."""

import io
import os
import sys
from typing import Any

from refresherd.domain.errors import RefresherdError

STDOUT = 1


class OutputLost(RefresherdError):
    """Standard output takes nothing: its disk is full, say, or nobody opened it."""


class _Output(io.FileIO):
    """Standard output, whose faults are told from those of all other files."""

    def write(self, content: Any, /) -> int:  # noqa: ANN401  # any buffer; 3.11 has no name for it
        """Write, or raise OutputLost; BrokenPipeError where a reader has had enough."""
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            give_up(self.fileno())
            raise OutputLost(f"cannot write to standard output: {error.strerror}") from error


def prepare() -> None:
    """Open what was closed, and have a write to standard output that fails raise OutputLost."""
    if sys.stderr is None:
        # print() takes a missing stream for standard output, where complaints are no token.
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if sys.stdout is None:
        # A descriptor that cannot be written to fails as a closed one does, and is no other file.
        sys.stdout = _text(os.open(os.devnull, os.O_RDONLY), line_buffering=False)
    elif sys.stdout is sys.__stdout__:
        sys.stdout = _text(STDOUT, line_buffering=os.isatty(STDOUT))


def give_up(descriptor: int) -> None:
    """Have nothing more written there: Python would complain again while flushing at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _text(descriptor: int, *, line_buffering: bool) -> io.TextIOWrapper:
    raw = _Output(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=line_buffering)
