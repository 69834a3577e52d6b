"""Brings what libraries and the interpreter report into the log."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from refresherd.adapters.logs.observer import Logs

# Its warnings tell of jobs that ran late, which the schedule itself watches.
ONLY_ERRORS = "apscheduler"


class _Handler(logging.Handler):
    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.WARNING)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._logs.library(record)
        except Exception as error:  # noqa: BLE001  # a faulty record is no fault of its caller
            self._logs.bug(f"{record.name} logged what cannot be shown", error)


@contextmanager
def captured(logs: Logs) -> Iterator[None]:
    """Have warnings and errors from elsewhere go through `logs` instead of to stderr, bare."""
    root, quiet = logging.getLogger(), logging.getLogger(ONLY_ERRORS)
    levels = root.level, quiet.level
    hooks = threading.excepthook, sys.unraisablehook
    handler = _Handler(logs)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    quiet.setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    threading.excepthook = lambda thrown: logs.bug("a thread ended", thrown.exc_value)
    sys.unraisablehook = lambda thrown: logs.bug("ignored in a finalizer", thrown.exc_value)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(levels[0])
        quiet.setLevel(levels[1])
