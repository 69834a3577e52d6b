"""Log lines for people: on a terminal, and as the message of a journal entry.

An event takes one line of WIDTH columns. A message that is too long for it continues below. Details
that a person rarely needs are left to JSON, the journal and level debug.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import structlog
from structlog import dev

from refresherd.adapters.logs.entries import DURATIONS

WIDTH = 100
"""Columns of a line."""

LEVEL_COLORS = {"debug": dev.DIM, "info": dev.GREEN, "warning": dev.YELLOW, "error": dev.RED}

CONTROLS = {code: ascii(chr(code))[1:-1] for code in range(0x20)}
"""Characters that break lines or control a terminal, as escapes."""

HIDDEN = ("apps", "duration", "endpoint", "generation", "gid", "request_id", "result", "version")
"""Fields that are shown at level debug only."""

UNNAMED = ("app", "method", "reason", "output", "hook", "cert_file", "config", "api", "http")
"""Fields whose values say what they are."""

RENAMED = {"expires_at": "until", "next_refresh_at": "next", "recovered_after": "failures"}

SHORTENED: Mapping[str, Callable[[str], str]] = {
    "socket": lambda path: path.rpartition("/")[2],
    "expected": lambda uuid: f"{uuid[:8]}…",
    "entity_id": lambda uuid: f"{uuid[:8]}…",
    "not_after": lambda date: date[:10],
}


COLUMNS = (("ts", 8, dev.DIM), ("level", 7, ""), ("event", 15, dev.BRIGHT))
"""The fields at the beginning of a line, with their widths and colours."""

INDENT = " " * sum(width + 1 for _, width, _ in COLUMNS)

Word: TypeAlias = tuple[str, str]
"""A text, and the same with the characters that colour it."""


class Console:
    """Renders lines that no value can break or forge; a traceback follows, indented.

    A character that `encoding` lacks becomes an escape. With a `width` of 0, an event is one line,
    however long it is.
    """

    def __init__(self, *, colors: bool, encoding: str = "utf-8", width: int = WIDTH) -> None:
        self._colors = colors
        self._encoding = encoding
        self._width = width

    def __call__(
        self, _: structlog.typing.WrappedLogger, level: str, fields: structlog.typing.EventDict
    ) -> bytes:
        """Return the lines of an event."""
        shown = {
            name: value.translate(CONTROLS) if isinstance(value, str) else value
            for name, value in fields.items()
            if name != "exception" and (level == "debug" or name not in HIDDEN)
        }
        if shown.get("retry_in") == 0:
            del shown["retry_in"]  # it has been retried at once
        message = str(shown.pop("message", "")).removeprefix(f"{shown.get('output')}: ").strip()
        words = [
            self._column(
                # Padded if anything follows.
                str(shown.pop(name)).ljust(width if shown or message else 0),
                color or LEVEL_COLORS[level],
            )
            for name, width, color in COLUMNS
            if name in shown
        ]
        details = [self._detail(name, value) for name, value in shown.items()]
        lines, used = self._filled([*words, *details])
        if message:
            lines[-1] += ": " if details else " "
            lines += self._with_message(lines.pop(), used + (2 if details else 1), message)
        if "exception" in fields:
            traceback = fields["exception"].split("\n")
            lines += ["    " + line.translate(CONTROLS) for line in traceback]
        text = "".join(line + "\n" for line in lines)
        return text.encode(self._encoding, "backslashreplace")

    def _column(self, text: str, color: str) -> Word:
        return text, f"{color}{text}{dev.RESET_ALL}" if self._colors else text

    def _detail(self, name: str, value: object) -> Word:
        text = SHORTENED[name](str(value)) if name in SHORTENED else str(value)
        text = f"{value:g}s" if name in DURATIONS and name != "seconds" else _quoted(text)
        if name in UNNAMED:
            return text, text
        named, painted = self._column(f"{RENAMED.get(name, name)}=", dev.CYAN)
        return named + text, painted + text

    def _filled(self, words: Sequence[Word]) -> tuple[list[str], int]:
        """Return words on as few lines as possible, and the width of the last line."""
        lines, used = [""], 0
        for plain, painted in words:
            if self._width and used and used + len(plain) > self._width:
                lines.append(INDENT)
                used = len(INDENT)
            lines[-1] += f"{painted} "
            used += len(plain) + 1
        return [line.removesuffix(" ") for line in lines], used - 1

    def _with_message(self, line: str, used: int, message: str) -> list[str]:
        """Return the lines of a message that begins on a line `used` columns wide, or below it."""
        if not self._width or used + len(message) <= self._width:
            return [line + message]
        if used > self._width / 2:
            return [line.removesuffix(": "), *self._wrapped(message, INDENT)]
        first, *others = self._wrapped(message, " " * used)
        return [line + first[used:], *others]

    def _wrapped(self, message: str, first_indent: str) -> list[str]:
        # A path that is cut in two cannot be copied.
        return textwrap.wrap(
            message,
            self._width,
            initial_indent=first_indent,
            subsequent_indent=INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _quoted(text: str) -> str:
    if any(character in text for character in ' ="'):
        return '"' + text.replace('"', '\\"') + '"'
    return text
