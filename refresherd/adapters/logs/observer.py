"""Logs events: repetitions are suppressed, and floods are cut."""

import asyncio
import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import structlog

from refresherd.adapters.logs.entries import Entry, describe, trouble_of
from refresherd.adapters.logs.writer import LineWriter
from refresherd.domain import events
from refresherd.domain.events import AcceptFailed, Event
from refresherd.domain.model import Instant
from refresherd.engine.ports import Clock

DEBUG_ONLY = frozenset(
    (
        events.AttemptBegan,
        events.SessionChecked,
        events.ApiAnswered,
        events.OutputWritten,
        events.OutputUnchanged,
    )
)
"""Events that are logged at debug level alone, unless they end some trouble."""

FREQUENT = frozenset((events.ApiAnswered,))
"""Those of them that may come ten thousand times a second, and that never end any trouble."""

REPEAT_SECONDS = 600.0
"""The same trouble is logged at most once in this time."""

MAX_TROUBLES = 100_000
"""If there are more at once, the oldest is forgotten; its next occurrence counts as new."""

NEVER_YET = Instant(-inf)

LINES_PER_SECOND = 1000.0
BURST = 5000.0
"""Limits on the lines of all apps together; further lines are dropped and counted."""


@dataclass(slots=True)
class _Trouble:
    count: int = 0
    logged: dict[str, tuple[Instant, int]] = field(default_factory=dict)
    """By kind, when it was last logged, and how many repetitions were suppressed since."""


class Repeats:
    """Suppresses repetitions of the same kind of trouble in the same scope, such as one output."""

    def __init__(self, max_troubles: int = MAX_TROUBLES) -> None:
        self._max_troubles = max_troubles
        self._troubles: dict[Hashable, _Trouble] = {}

    def admit(self, scope: Hashable, kind: str, now: Instant) -> int | None:
        """Return how many entries were suppressed before this one; None to suppress it as well."""
        trouble = self._troubles.get(scope)
        if trouble is None:
            if len(self._troubles) >= self._max_troubles:
                del self._troubles[next(iter(self._troubles))]
            trouble = self._troubles[scope] = _Trouble()
        trouble.count += 1
        logged_at, suppressed = trouble.logged.get(kind, (NEVER_YET, 0))
        if now < logged_at + REPEAT_SECONDS:
            trouble.logged[kind] = logged_at, suppressed + 1
            return None
        trouble.logged[kind] = now, 0
        return suppressed

    def recover(self, scope: Hashable) -> int:
        """Forget a trouble that is over; return how often it occurred, 0 if there was none."""
        trouble = self._troubles.pop(scope, None)
        return 0 if trouble is None else trouble.count


class Logs:
    """An Observer that logs. No method blocks, even if nobody reads the log."""

    def __init__(
        self, logger: structlog.typing.FilteringBoundLogger, writer: LineWriter, clock: Clock
    ) -> None:
        self._logger = logger
        self._writer = writer
        self._clock = clock
        self._repeats = Repeats()
        self._allowance = BURST
        self._refilled_at = clock.now()
        self._unseen = frozenset() if logger.is_enabled_for(logging.DEBUG) else FREQUENT
        self._ignored = frozenset() if logger.is_enabled_for(logging.DEBUG) else DEBUG_ONLY

    def observe(self, event: Event) -> None:
        """Log an event, unless it is a repetition or below the level."""
        if type(event) in self._unseen:
            return
        scope = trouble_of(event)
        failures = 0 if scope is None else self._repeats.recover(scope)
        if failures or type(event) not in self._ignored:
            self._log(describe(event, failures))

    def library(self, record: logging.LogRecord) -> None:
        """Log what a library logged."""
        level = logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING
        error = record.exc_info[1] if record.exc_info else None
        fields = {"logger": record.name, "exc_info": error}
        scope = ("library", record.name, str(record.msg))
        self._log(Entry(level, record.getMessage().strip(), fields, scope))

    def loop_failed(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Log what the event loop reports: its exception handler."""
        error, listening = context.get("exception"), context.get("socket")
        if isinstance(error, OSError) and listening is not None:
            # Not a bug: asyncio accepts TCP connections for us, and no descriptor is left.
            name = "{}:{}".format(*listening.getsockname()[:2])
            self.observe(AcceptFailed(name, error.strerror or str(error)))
        else:
            self.bug(str(context["message"]), error)

    def bug(self, message: str, error: BaseException | None) -> None:
        """Log an exception that nobody caught."""
        fields = {"message": message, "exc_info": error}
        self._log(Entry(logging.ERROR, "bug", fields, ("bug", message), type(error).__name__))

    def dropped(self) -> int:
        """Return how many lines were dropped since the start."""
        return self._writer.dropped

    def close(self, timeout: float = 0.5) -> None:
        """Write the queued lines, for at most `timeout` seconds."""
        self._writer.close(timeout)

    def _log(self, entry: Entry) -> None:
        if not self._logger.is_enabled_for(entry.level):
            return
        fields, now = entry.fields, self._clock.now()
        if entry.scope is not None:
            suppressed = self._repeats.admit(entry.scope, entry.kind, now)
            if suppressed is None:
                return
            if suppressed:
                fields = {**fields, "suppressed": suppressed}
        refill = (now - self._refilled_at) * LINES_PER_SECOND
        self._allowance = min(BURST, self._allowance + refill)
        self._refilled_at = now
        if self._allowance < 1:
            self._writer.drop(1)
            return
        self._allowance -= 1
        self._logger.log(entry.level, entry.event, **fields)
