"""The path of a log entry to its line: JSON for machines, columns for people, or the journal."""

import os
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO, TypeAlias, cast

import msgspec
import structlog

from refresherd.adapters.logs.console import WIDTH, Console
from refresherd.adapters.logs.observer import Logs
from refresherd.adapters.logs.writer import (
    JOURNAL_SOCKET,
    LineWriter,
    leads_to_journal,
    write_to_journal,
    writing_to,
)
from refresherd.domain import formats
from refresherd.domain.redaction import redact
from refresherd.engine.ports import Clock

Fields: TypeAlias = structlog.typing.EventDict
Logger: TypeAlias = structlog.typing.WrappedLogger
Render: TypeAlias = Callable[[Logger, str, Fields], bytes]

MAX_VALUE = 2000
MAX_TRACEBACK = 20_000
"""Characters; the middle of longer texts is cut out."""

_BIDIRECTIONAL = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
INVISIBLE = {
    code: ascii(chr(code))[1:-1] for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *_BIDIRECTIONAL)
}
"""Characters that JSON does not escape, though they control a terminal or reverse its text."""

CLOCK_CHECK_SECONDS = 1.0
"""Seconds that a step of the wall clock may go unnoticed: comparing clocks per line is slow."""

DAY = 86_400.0

INSTANTS = ("expires_at", "next_refresh_at")
"""Fields that are boot time in an event and wall time in the log."""

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""The levels as syslog(3) numbers them."""

NOT_A_FIELD = ("ts", "level", "exception")
"""The journal has its own time; the level is the priority; a traceback is part of the message."""


def configure(  # noqa: PLR0913, PLR0917  # the last two have defaults
    level: str,
    form: str,
    stream: TextIO,
    clock: Clock,
    environ: Mapping[str, str] = os.environ,
    journal: Path = JOURNAL_SOCKET,
) -> Logs:
    """Return Logs that write to a stream, or to systemd's journal itself.

    `level` is debug, info, warning or error. `form` is console, json or auto: console on a
    terminal; the native protocol if the stream leads to the journal; otherwise json. $NO_COLOR
    turns colours off.
    """
    journaled, terminal = leads_to_journal(stream, environ), stream.isatty()
    write, time = writing_to(stream), utc_milliseconds
    moment: Callable[[float, float], str] = utc_moment
    render: Render = json_line
    if journaled and form == "auto" and journal.is_socket():
        write = partial(write_to_journal, journal)
        render = partial(journal_entry, Console(colors=False, width=0))
    else:
        if form == "console" or (form == "auto" and terminal):
            colors = terminal and not environ.get("NO_COLOR")
            width = WIDTH if terminal else 0
            render = Console(colors=colors, encoding=stream.encoding or "utf-8", width=width)
            time, moment = local_time_of_day, local_moment
        if journaled:
            render = partial(prefixed, render)
    writer = LineWriter(write)
    processors: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        clean,
        Heading(clock, writer, time, moment),
        render,
    ]
    logger = structlog.wrap_logger(
        # The method of each level writes the line.
        SimpleNamespace(**dict.fromkeys(("debug", "info", "warning", "error"), writer.put)),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
    ).bind()
    return Logs(cast("structlog.typing.FilteringBoundLogger", logger), writer, clock)


def clean(_: Logger, __: str, fields: Fields) -> Fields:
    """Return the fields without secrets, empty values and overlong texts."""
    return {
        name: value if isinstance(value, int | float) else _clean(str(value), name)
        for name, value in fields.items()
        if value or isinstance(value, int | float)
    }


def _clean(text: str, name: str) -> str:
    text = redact(text)
    longest = MAX_TRACEBACK if name == "exception" else MAX_VALUE
    if len(text) > longest:
        # Keep the end as well: a traceback's last line says what happened.
        text = f"{text[: longest // 2]}…{text[-longest // 2 :]}"
    if text.isprintable():
        return text
    # Bytes of a path that are not UTF-8 (PEP 383) would fail in the encoder.
    return text.translate(INVISIBLE).encode(errors="backslashreplace").decode()


class Heading:
    """Puts time and level first, and adds the number of lines that were dropped before.

    `time` formats the present time, and `moment` an instant, given the present time; both get
    unix seconds.
    """

    def __init__(
        self,
        clock: Clock,
        writer: LineWriter,
        time: Callable[[float], str],
        moment: Callable[[float, float], str],
    ) -> None:
        self._clock = clock
        self._writer = writer
        self._time = time
        self._moment = moment
        self._offset = 0.0
        self._check_at: float = clock.now()

    def __call__(self, _: Logger, level: str, fields: Fields) -> Fields:
        """Return the fields in the order in which they are read."""
        now = self._clock.now()
        if now >= self._check_at:
            self._offset = self._clock.wall(now) - now
            self._check_at = now + CLOCK_CHECK_SECONDS
        wall = now + self._offset
        for name in INSTANTS:
            if name in fields:
                unix = min(fields[name] + self._offset, formats.LATEST_WALL)
                fields[name] = self._moment(unix // 1, wall)
        headed = {"ts": self._time(wall), "level": level, "event": fields.pop("event"), **fields}
        if self._writer.has_room and (dropped := self._writer.take_dropped()):
            headed["dropped"] = dropped
        return headed


# Lines come in bursts, whose dates fall into few seconds.
_date = lru_cache(maxsize=64)(formats.timestamp)


def utc_milliseconds(unix: float) -> str:
    """Return unix seconds as RFC 3339 with milliseconds, rounded down."""
    second = unix // 1
    return f"{_date(second)[:-1]}.{int((unix - second) * 1000):03}Z"


def utc_moment(unix: float, _: float) -> str:
    """Return whole unix seconds as RFC 3339."""
    return _date(unix)


def local_time_of_day(unix: float) -> str:
    """Return unix seconds as the time of day in the local time zone, rounded down."""
    return f"{datetime.fromtimestamp(unix, tz=UTC).astimezone():%H:%M:%S}"


def local_moment(unix: float, now: float) -> str:
    """Return unix seconds as the local time of day or, if that is far off, as the date."""
    if abs(unix - now) < DAY:
        return local_time_of_day(unix)
    return _date(unix)[:10]


_encoder = msgspec.json.Encoder()


def json_line(_: Logger, __: str, fields: Fields) -> bytes:
    """Return a line with one JSON object."""
    return _encoder.encode(fields) + b"\n"


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
