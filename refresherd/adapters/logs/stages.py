"""What a log line goes through between its event and its rendering: structlog processors."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from refresherd.adapters.logs.without_rich import structlog
from refresherd.adapters.logs.writer import LineWriter
from refresherd.domain import formats
from refresherd.domain.redaction import redact
from refresherd.engine.ports import Clock

Fields = structlog.typing.EventDict
Logger = structlog.typing.WrappedLogger

LINES_A_SECOND = 1000.0
BURST = 5000.0

LONGEST_VALUE = 2000
LONGEST_TRACEBACK = 20_000

_TURNS_ROUND = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
UNSEEN = {
    code: ascii(chr(code))[1:-1] for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *_TURNS_ROUND)
}
"""What JSON leaves as it is, though it moves a terminal's cursor or turns its text round."""

LOOK_SECONDS = 1.0
"""How long a step of the wall clock may go unnoticed: comparing clocks costs as much as a stage."""

NUMBERS = (int, float)

INSTANTS = ("expires_at", "next_refresh_at")
"""Fields that are boot time in an event and wall time in a line."""


class FloodGate:
    """Bounds the lines in any second, whatever goes on in however many apps."""

    def __init__(self, clock: Clock, writer: LineWriter) -> None:
        self._clock = clock
        self._writer = writer
        self._allowance = BURST
        self._refilled_at = clock.now()

    def __call__(self, _: Logger, __: str, fields: Fields) -> Fields:
        """Let a line pass, or drop it and have it counted."""
        now = self._clock.now()
        refill = (now - self._refilled_at) * LINES_A_SECOND
        self._allowance = min(BURST, self._allowance + refill)
        self._refilled_at = now
        if self._allowance < 1:
            self._writer.drop(1)
            raise structlog.DropEvent
        self._allowance -= 1
        return fields


def clean(_: Logger, __: str, fields: Fields) -> Fields:
    """Return the fields without secrets, without what is empty, and none of them endless."""
    return {
        name: value if isinstance(value, NUMBERS) else _clean(str(value), name)
        for name, value in fields.items()
        if value or isinstance(value, NUMBERS)
    }


def _clean(text: str, name: str) -> str:
    text = redact(text)
    longest = LONGEST_TRACEBACK if name == "exception" else LONGEST_VALUE
    if len(text) > longest:
        # A traceback's last line says what happened.
        text = f"{text[: longest // 2]}…{text[-longest // 2 :]}"
    if text.isprintable():
        return text
    # Bytes that no encoding explains (PEP 383) would fail in the encoder.
    return text.translate(UNSEEN).encode(errors="backslashreplace").decode()


class Heading:
    """Puts time and level first, turns instants into dates, and tells how many lines were lost."""

    def __init__(self, clock: Clock, writer: LineWriter, time: Callable[[float], str]) -> None:
        self._clock = clock
        self._writer = writer
        self._time = time
        self._offset = 0.0
        self._look_at: float = clock.now()

    def __call__(self, _: Logger, level: str, fields: Fields) -> Fields:
        """Return the fields in the order in which they are read."""
        now = self._clock.now()
        if now >= self._look_at:
            self._offset = self._clock.wall(now) - now
            self._look_at = now + LOOK_SECONDS
        for name in INSTANTS:
            if name in fields:
                fields[name] = date(fields[name] + self._offset)
        ts = self._time(now + self._offset)
        headed = {"ts": ts, "level": level, "event": fields.pop("event"), **fields}
        if self._writer.has_room and (dropped := self._writer.take_dropped()):
            headed["dropped"] = dropped
        return headed


def date(unix: float) -> str:
    """Return unix seconds as RFC 3339 in whole seconds, rounded down."""
    return _date(min(unix, formats.LATEST_WALL) // 1)


# Lines come in bursts, so most times of one fall into few seconds.
_date = lru_cache(maxsize=64)(formats.timestamp)


def utc_milliseconds(unix: float) -> str:
    """Return unix seconds as RFC 3339 with milliseconds, rounded down."""
    second = unix // 1
    return f"{_date(second)[:-1]}.{int((unix - second) * 1000):03}Z"


def local_time_of_day(unix: float) -> str:
    """Return unix seconds as a person at the terminal reads a clock."""
    moment = datetime.fromtimestamp(unix, tz=UTC).astimezone()
    return moment.time().isoformat(timespec="milliseconds")
