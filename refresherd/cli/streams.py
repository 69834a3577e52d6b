"""A command's standard streams, which may be closed or full, or lack characters."""

import io
import os
import sys
from contextlib import suppress
from typing import Any

from refresherd.domain.errors import RefresherdError


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


def use_utf8() -> None:
    """Restart this program in Python's UTF-8 mode if the locale has another encoding.

    The configuration is UTF-8. In this mode each of its paths can be used, and is the same for a
    daemon and a command whose locales differ. It is Python's default from 3.15 on (PEP 686).
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        with suppress(OSError):
            os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606  # itself


def prepare_streams() -> None:
    """Replace closed streams, and make failed writes to standard output raise OutputLost.

    A character that the terminal's encoding lacks is printed as an escape.
    """
    encoding = _locale_encoding()
    if sys.stderr is None:
        # print(file=None) writes to standard output, where a message would pass for a token.
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    elif encoding is not None and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(encoding=encoding, errors="backslashreplace")
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        # A read-only descriptor fails as a closed one does, and cannot become some other file.
        descriptor = os.open(os.devnull, os.O_RDONLY) if sys.stdout is None else sys.stdout.fileno()
        raw = _Output(descriptor, "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding or (sys.stdout or sys.stderr).encoding,
            "backslashreplace",
            line_buffering=os.isatty(descriptor),
        )


def _locale_encoding() -> str | None:
    """Return the locale's encoding if `use_utf8` has changed the streams', else None."""
    if "utf8" not in sys._xoptions or os.environ.get("PYTHONIOENCODING"):  # noqa: SLF001  # documented
        return None
    import locale  # slow to import, and rarely used

    return locale.getencoding()


def discard(descriptor: int) -> None:
    """Send further writes to /dev/null; Python would report the error again when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
