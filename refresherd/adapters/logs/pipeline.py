"""The path of a log entry to its destination, as structlog processors."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO, cast

import structlog

from refresherd.adapters.logs import rendering
from refresherd.adapters.logs.observer import Logs
from refresherd.adapters.logs.rendering import Console, Fields, Logger
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

MAX_VALUE = 2000
MAX_TRACEBACK = 20_000
"""Characters; the middle of longer texts is cut out."""

_BIDIRECTIONAL = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
INVISIBLE = {
    code: ascii(chr(code))[1:-1] for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *_BIDIRECTIONAL)
}
"""Characters that JSON does not escape, though they control a terminal or reverse its text."""

CLOCK_CHECK_SECONDS = 1.0
"""A step of the wall clock may go unnoticed this long: comparing clocks costs a lot per line."""

INSTANTS = ("expires_at", "next_refresh_at")
"""Fields that are boot time in an event and wall time in the log."""


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
    render: rendering.Render = rendering.json_line
    if journaled and form == "auto" and journal.is_socket():
        write = partial(write_to_journal, journal)
        render = partial(rendering.journal_entry, Console(colors=False))
    else:
        if form == "console" or (form == "auto" and terminal):
            render = Console(colors=terminal and not environ.get("NO_COLOR"))
            time = local_time_of_day
        if journaled:
            render = partial(rendering.prefixed, render)
    writer = LineWriter(write)
    processors: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        clean,
        Heading(clock, writer, time),
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

    `time` formats unix seconds. Instants become dates.
    """

    def __init__(self, clock: Clock, writer: LineWriter, time: Callable[[float], str]) -> None:
        self._clock = clock
        self._writer = writer
        self._time = time
        self._offset = 0.0
        self._check_at: float = clock.now()

    def __call__(self, _: Logger, level: str, fields: Fields) -> Fields:
        """Return the fields in the order in which they are read."""
        now = self._clock.now()
        if now >= self._check_at:
            self._offset = self._clock.wall(now) - now
            self._check_at = now + CLOCK_CHECK_SECONDS
        for name in INSTANTS:
            if name in fields:
                unix = min(fields[name] + self._offset, formats.LATEST_WALL)
                fields[name] = _date(unix // 1)
        ts = self._time(now + self._offset)
        headed = {"ts": ts, "level": level, "event": fields.pop("event"), **fields}
        if self._writer.has_room and (dropped := self._writer.take_dropped()):
            headed["dropped"] = dropped
        return headed


# Lines come in bursts, whose dates fall into few seconds.
_date = lru_cache(maxsize=64)(formats.timestamp)


def utc_milliseconds(unix: float) -> str:
    """Return unix seconds as RFC 3339 with milliseconds, rounded down."""
    second = unix // 1
    return f"{_date(second)[:-1]}.{int((unix - second) * 1000):03}Z"


def local_time_of_day(unix: float) -> str:
    """Return unix seconds as the time of day in the local time zone, with milliseconds."""
    moment = datetime.fromtimestamp(unix, tz=UTC).astimezone()
    return moment.time().isoformat(timespec="milliseconds")
