"""What a log entry looks like: JSON for machines, columns for people, fields for the journal."""

import struct
from typing import TypeAlias

import msgspec

from refresherd.adapters.logs.without_rich import structlog

Fields: TypeAlias = structlog.typing.EventDict
Logger: TypeAlias = structlog.typing.WrappedLogger

EVENT_WIDTH = 18

_dev = structlog.dev

LEVEL_COLORS = {"debug": _dev.DIM, "info": _dev.GREEN, "warning": _dev.YELLOW, "error": _dev.RED}

CONTROLS = {code: ascii(chr(code))[1:-1] for code in range(0x20)}
"""Characters that break lines or control a terminal, as escapes."""

INDENT = "\n    "

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""The levels as syslog(3) numbers them."""

NOT_A_FIELD = ("ts", "level", "exception")
"""The journal has its own time; the level is the priority; a traceback is part of the message."""


class JsonLines:
    """Renders one JSON object per line."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def __call__(self, _: Logger, __: str, fields: Fields) -> bytes:
        """Return the line."""
        return self._encoder.encode(fields) + b"\n"


class Console:
    """Renders a line that no value can break or forge; a traceback follows, indented."""

    def __init__(self, *, colors: bool) -> None:
        self._renderer = _dev.ConsoleRenderer(columns=_columns(colors=colors), sort_keys=False)

    def __call__(self, logger: Logger, level: str, fields: Fields) -> bytes:
        """Return the line."""
        visible = {
            name: value.translate(CONTROLS) if isinstance(value, str) else value
            for name, value in fields.items()
        }
        if "exception" in fields:
            lines = fields["exception"].split("\n")
            visible["exception"] = INDENT[1:] + INDENT.join(
                line.translate(CONTROLS) for line in lines
            )
        return (self._renderer(logger, level, visible) + "\n").encode()


class Prefixed:
    """Puts the level before each line, as sd-daemon(3) defines it: `<6>`."""

    def __init__(self, render: Console | JsonLines) -> None:
        self._render = render

    def __call__(self, logger: Logger, level: str, fields: Fields) -> bytes:
        """Return the lines."""
        prefix = b"<%d>" % PRIORITIES[level]
        lines = self._render(logger, level, fields).splitlines(keepends=True)
        return b"".join(prefix + line for line in lines)


class JournalEntries:
    """Renders entries of the journal's native protocol, with the fields APP and REFRESHERD_*.

    The protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL) takes less code than a library: systemd-python
    needs a compiler and headers.
    """

    def __init__(self) -> None:
        self._console = Console(colors=False)

    def __call__(self, logger: Logger, level: str, fields: Fields) -> bytes:
        """Return a datagram. The names in `fields` must be identifiers."""
        shown = {name: value for name, value in fields.items() if name not in ("ts", "level")}
        entry = {
            "MESSAGE": self._console(logger, level, shown).decode().rstrip("\n"),
            "PRIORITY": PRIORITIES[level],
            "SYSLOG_IDENTIFIER": "refresherd",
        }
        for name, value in fields.items():
            if name not in NOT_A_FIELD:
                entry["APP" if name == "app" else f"REFRESHERD_{name.upper()}"] = value
        return b"".join(_journal_field(name, str(value)) for name, value in entry.items())


def _journal_field(name: str, value: str) -> bytes:
    """Return a field; a value of several lines is preceded by its length, so it forges no field."""
    encoded = value.encode()
    if b"\n" not in encoded:
        return b"%s=%s\n" % (name.encode(), encoded)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(encoded)), encoded)


def _columns(*, colors: bool) -> list[structlog.dev.Column]:
    def style(color: str) -> str:
        return color if colors else ""

    def column(key: str, color: str, width: int = 0) -> structlog.dev.Column:
        formatter = _dev.KeyValueColumnFormatter(
            None, style(color), style(_dev.RESET_ALL), str, width
        )
        return _dev.Column(key, formatter)

    levels = {level: style(color) for level, color in LEVEL_COLORS.items()}
    others = _dev.KeyValueColumnFormatter(
        style(_dev.CYAN), "", style(_dev.RESET_ALL), value_repr=_quoted
    )
    return [
        column("ts", _dev.DIM),
        _dev.Column("level", _dev.LogLevelColumnFormatter(levels, style(_dev.RESET_ALL))),
        column("event", _dev.BRIGHT, EVENT_WIDTH),
        _dev.Column("", others),
    ]


def _quoted(value: object) -> str:
    text = str(value)
    if any(character in text for character in ' ="'):
        return '"' + text.replace('"', '\\"') + '"'
    return text
