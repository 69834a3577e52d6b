"""What a log entry looks like: JSON for machines, columns for people, fields for the journal."""

import struct
from collections.abc import Callable
from typing import TypeAlias

import msgspec
import structlog
from structlog import dev

Fields: TypeAlias = structlog.typing.EventDict
Logger: TypeAlias = structlog.typing.WrappedLogger
Render: TypeAlias = Callable[[Logger, str, Fields], bytes]

LEVEL_COLORS = {"debug": dev.DIM, "info": dev.GREEN, "warning": dev.YELLOW, "error": dev.RED}

CONTROLS = {code: ascii(chr(code))[1:-1] for code in range(0x20)}
"""Characters that break lines or control a terminal, as escapes."""

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""The levels as syslog(3) numbers them."""

NOT_A_FIELD = ("ts", "level", "exception")
"""The journal has its own time; the level is the priority; a traceback is part of the message."""

_encoder = msgspec.json.Encoder()


def json_line(_: Logger, __: str, fields: Fields) -> bytes:
    """Return a line with one JSON object."""
    return _encoder.encode(fields) + b"\n"


class Console:
    """Renders a line that no value can break or forge; a traceback follows, indented."""

    def __init__(self, *, colors: bool) -> None:
        self._renderer = dev.ConsoleRenderer(columns=_columns(colors=colors), sort_keys=False)

    def __call__(self, logger: Logger, level: str, fields: Fields) -> bytes:
        """Return the line."""
        visible = {
            name: value.translate(CONTROLS) if isinstance(value, str) else value
            for name, value in fields.items()
        }
        if "exception" in fields:
            lines = fields["exception"].split("\n")
            visible["exception"] = "\n".join("    " + line.translate(CONTROLS) for line in lines)
        return (self._renderer(logger, level, visible) + "\n").encode()


def prefixed(render: Render, logger: Logger, level: str, fields: Fields) -> bytes:
    """Return lines with the level in front of each, as sd-daemon(3) defines it: `<6>`."""
    prefix = b"<%d>" % PRIORITIES[level]
    lines = render(logger, level, fields).splitlines(keepends=True)
    return b"".join(prefix + line for line in lines)


def journal_entry(console: Console, logger: Logger, level: str, fields: Fields) -> bytes:
    """Return a datagram of the journal's native protocol, with the fields APP and REFRESHERD_*.

    The names in `fields` must be identifiers. The protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)
    takes less code than a library: systemd-python needs a compiler and headers.
    """
    shown = {name: value for name, value in fields.items() if name not in ("ts", "level")}
    entry = {
        "MESSAGE": console(logger, level, shown).decode().rstrip("\n"),
        "PRIORITY": PRIORITIES[level],
        "SYSLOG_IDENTIFIER": "refresherd",
    }
    for name, value in fields.items():
        if name not in NOT_A_FIELD:
            entry["APP" if name == "app" else f"REFRESHERD_{name.upper()}"] = value
    datagram = b""
    for name, value in entry.items():
        encoded = str(value).encode()
        if b"\n" in encoded:
            # Its length precedes a value of several lines, so that it forges no field.
            datagram += b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(encoded)), encoded)
        else:
            datagram += b"%s=%s\n" % (name.encode(), encoded)
    return datagram


def _columns(*, colors: bool) -> list[dev.Column]:
    def style(color: str) -> str:
        return color if colors else ""

    def column(key: str, color: str, width: int = 0) -> dev.Column:
        formatter = dev.KeyValueColumnFormatter(
            None, style(color), style(dev.RESET_ALL), str, width
        )
        return dev.Column(key, formatter)

    levels = {level: style(color) for level, color in LEVEL_COLORS.items()}
    others = dev.KeyValueColumnFormatter(
        style(dev.CYAN), "", style(dev.RESET_ALL), value_repr=_quoted
    )
    return [
        column("ts", dev.DIM),
        dev.Column("level", dev.LogLevelColumnFormatter(levels, style(dev.RESET_ALL))),
        column("event", dev.BRIGHT, width=18),
        dev.Column("", others),
    ]


def _quoted(value: object) -> str:
    text = str(value)
    if any(character in text for character in ' ="'):
        return '"' + text.replace('"', '\\"') + '"'
    return text
