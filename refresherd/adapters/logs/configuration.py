"""Puts the pipeline together, from an entry to its line in the queue."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, cast

from refresherd.adapters.logs import journal
from refresherd.adapters.logs.observer import Logs
from refresherd.adapters.logs.rendering import Console, JsonLines
from refresherd.adapters.logs.stages import (
    FloodGate,
    Heading,
    clean,
    local_time_of_day,
    utc_milliseconds,
)
from refresherd.adapters.logs.without_rich import structlog
from refresherd.adapters.logs.writer import LineWriter, Write, writing_to
from refresherd.engine.ports import Clock


class _Sink:
    """What structlog takes for a logger: each level's method has the line written."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = writer.put


def configure(
    level: str, form: str, stream: TextIO, clock: Clock, socket: Path = journal.SOCKET
) -> Logs:
    """Return Logs that write to a stream, or past it to the journal at `socket`.

    `level` is debug, info, warning or error; `form` is console, json, or auto: console
    on a terminal, natively where the stream leads to the journal, else json.
    """
    journaled = journal.connected(stream, os.environ)
    if journaled and form == "auto" and socket.is_socket():
        return _logs(level, clock, journal.Datagrams(socket), journal.NativeEntries())
    terminal = stream.isatty()
    console = form == "console" or (form == "auto" and terminal)
    colors = terminal and not os.environ.get("NO_COLOR")
    render = Console(colors=colors) if console else JsonLines()
    time = local_time_of_day if console else utc_milliseconds
    rendered = journal.Prefixed(render) if journaled else render
    return _logs(level, clock, writing_to(stream), rendered, time)


def _logs(
    level: str,
    clock: Clock,
    write: Write,
    render: structlog.typing.Processor,
    time: Callable[[float], str] = utc_milliseconds,
) -> Logs:
    writer = LineWriter(write)
    processors: list[structlog.typing.Processor] = [
        FloodGate(clock, writer),
        structlog.processors.format_exc_info,
        clean,
        Heading(clock, writer, time),
        render,
    ]
    logger = structlog.wrap_logger(
        _Sink(writer),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
    ).bind()
    return Logs(cast("structlog.typing.FilteringBoundLogger", logger), writer, clock)
