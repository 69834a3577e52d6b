"""Tells in the log what happens: events, what libraries log, and what nobody caught."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from refresherd.adapters.logs.entries import (
    DEBUG,
    ERROR,
    ONLY_DEBUG,
    WARNING,
    Entry,
    describe,
    trouble_of,
)
from refresherd.adapters.logs.repeats import Repeats
from refresherd.adapters.logs.without_rich import structlog
from refresherd.adapters.logs.writer import LineWriter
from refresherd.domain.events import AcceptFailed, Event
from refresherd.engine.ports import Clock


class Logs:
    """An Observer that logs. Nothing here blocks, whoever reads the log."""

    def __init__(
        self, logger: structlog.typing.FilteringBoundLogger, writer: LineWriter, clock: Clock
    ) -> None:
        self._logger = logger
        self._writer = writer
        self._clock = clock
        self._repeats = Repeats()
        self._unseen = frozenset() if logger.is_enabled_for(DEBUG) else ONLY_DEBUG

    def observe(self, event: Event) -> None:
        """Log an event, unless it is a repetition or below the level."""
        scope = trouble_of(event)
        failures = 0 if scope is None else self._repeats.recover(scope)
        if failures or type(event) not in self._unseen:
            self._tell(describe(event, failures))

    def library(self, record: logging.LogRecord) -> None:
        """Log what a library logged."""
        level = ERROR if record.levelno >= ERROR else WARNING
        error = record.exc_info[1] if record.exc_info else None
        fields = {"logger": record.name, "exc_info": error}
        scope = ("library", record.name, str(record.msg))
        self._tell(Entry(level, record.getMessage().strip(), fields, scope))

    def loop_failed(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Log what ended up in the event loop: its exception handler."""
        error, listening = context.get("exception"), context.get("socket")
        if isinstance(error, OSError) and listening is not None:
            # No bug: asyncio accepts TCP connections for us, and there are no descriptors left.
            name = "{}:{}".format(*listening.getsockname()[:2])
            self.observe(AcceptFailed(name, error.strerror or str(error)))
        else:
            self.bug(str(context["message"]), error)

    def bug(self, message: str, error: BaseException | None) -> None:
        """Log what nobody caught."""
        fields = {"message": message, "exc_info": error}
        self._tell(Entry(ERROR, "bug", fields, ("bug", message), type(error).__name__))

    def close(self, timeout: float = 0.5) -> None:
        """Write what is left, for at most `timeout` seconds."""
        self._writer.close(timeout)

    def _tell(self, entry: Entry) -> None:
        if not self._logger.is_enabled_for(entry.level):
            return
        fields = entry.fields
        if entry.scope is not None:
            suppressed = self._repeats.admit(entry.scope, entry.kind, self._clock.now())
            if suppressed is None:
                return
            if suppressed:
                fields = {**fields, "suppressed": suppressed}
        self._logger.log(entry.level, entry.event, **fields)
