"""Sends what libraries log, and exceptions that nobody caught, to the log."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from refresherd.adapters.logs.observer import Logs

ERRORS_ONLY = "apscheduler"
"""This library's warnings are about jobs that run late, which the schedule itself watches."""


class _Handler(logging.Handler):
    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.WARNING)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._logs.library(record)
        except Exception as error:  # noqa: BLE001  # a faulty record must not fail its caller
            self._logs.bug(f"{record.name} logged a record that cannot be formatted", error)


@contextmanager
def captured(logs: Logs) -> Iterator[None]:
    """Send warnings of libraries, and uncaught exceptions, to `logs` while the block runs."""
    root, errors_only = logging.getLogger(), logging.getLogger(ERRORS_ONLY)
    levels = root.level, errors_only.level
    hooks = threading.excepthook, sys.unraisablehook
    handler = _Handler(logs)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    errors_only.setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    threading.excepthook = lambda args: logs.bug("an exception ended a thread", args.exc_value)
    sys.unraisablehook = lambda args: logs.bug("an exception was ignored", args.exc_value)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(levels[0])
        errors_only.setLevel(levels[1])
