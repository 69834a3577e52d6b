"""Standard output and error that commands can rely on, however they were started."""

import io
import os
import sys
from types import TracebackType
from typing import Any

from refresherd.domain.errors import RefresherdError

STDOUT = 1


class OutputLost(RefresherdError):
    """Standard output cannot be written to: its disk is full, say, or it is closed."""


class _Output(io.FileIO):
    """Standard output whose errors differ from those of all other files."""

    def write(self, content: Any, /) -> int:  # noqa: ANN401  # any buffer; 3.11 has no name for it
        """Write, or raise OutputLost; BrokenPipeError if the reader has closed its end."""
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard(self.fileno())
            raise OutputLost(f"cannot write to standard output: {error.strerror}") from error


def prepare() -> None:
    """Replace closed streams, and make failed writes to standard output raise OutputLost."""
    if sys.stderr is None:
        # print(file=None) writes to standard output, where a message would pass for a token.
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if sys.stdout is None:
        # A read-only descriptor fails as a closed one does, and cannot become some other file.
        sys.stdout = _text(os.open(os.devnull, os.O_RDONLY), line_buffering=False)
    elif sys.stdout is sys.__stdout__:
        sys.stdout = _text(STDOUT, line_buffering=os.isatty(STDOUT))


def discard(descriptor: int) -> None:
    """Send further writes to /dev/null; Python would report the error again when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def print_redacted(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    """Print a bug's traceback without credentials, which may be in any text: a sys.excepthook."""
    import traceback  # noqa: PLC0415  # slow to import, and rarely used

    from refresherd.domain.redaction import redact  # noqa: PLC0415  # the same

    print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)


def _text(descriptor: int, *, line_buffering: bool) -> io.TextIOWrapper:
    raw = _Output(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=line_buffering)
