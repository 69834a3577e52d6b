"""Reports of libraries, threads and the event loop go through the same log, redacted."""

import asyncio
import io
import json
import logging
import resource
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from refresherd.adapters.logs.capture import captured
from refresherd.adapters.logs.observer import Logs
from refresherd.adapters.logs.pipeline import configure
from support.fakes import FakeClock

TOKEN = "Zq3-" * 21 + "Zq"


class Log:
    """A log in memory; `lines` closes it."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self.logs: Logs = configure("info", "json", self._stream, FakeClock())

    def lines(self) -> list[dict[str, Any]]:
        """Return all lines without their times, and assert that none has the token."""
        self.logs.close()
        text = self._stream.getvalue()
        assert TOKEN[:20] not in text
        found = [json.loads(line) for line in text.splitlines()]
        for line in found:
            del line["ts"]
        return found


@pytest.fixture
def log() -> Iterator[Log]:
    """Yield a log that captures what others report."""
    log = Log()
    with captured(log.logs):
        yield log


def test_the_warnings_of_a_library_are_logged_with_its_name(log: Log) -> None:
    """An operator has to see whose words they are."""
    logging.getLogger("aiohttp.client").warning("sent %s", TOKEN)
    logging.getLogger("aiohttp.client").info("connected")
    logging.getLogger("asyncio").critical("slow")
    assert log.lines() == [
        {"level": "warning", "event": "sent ***", "logger": "aiohttp.client"},
        {"level": "error", "event": "slow", "logger": "asyncio"},
    ]


def test_only_errors_of_the_scheduler_are_logged(log: Log) -> None:
    """Its warnings are about its own jobs that run late."""
    logging.getLogger("apscheduler.scheduler").warning("missed by 1 s")
    logging.getLogger("apscheduler.executors.default").error("failed")
    assert [line["event"] for line in log.lines()] == ["failed"]


def test_the_traceback_of_a_library_is_redacted(log: Log) -> None:
    """For example, aiohttp logs in full what a handler raised."""
    error = ValueError(f"Authorization: Bearer {TOKEN}")
    logging.getLogger("aiohttp.server").error("error handling request", exc_info=error)
    (line,) = log.lines()
    assert line["event"] == "error handling request"
    assert line["exception"].endswith("ValueError: Authorization: Bearer ***")


def test_repetitions_of_a_library_are_suppressed(log: Log) -> None:
    """A port scanner can make a web server complain a thousand times a second."""
    for number in range(100):
        logging.getLogger("aiohttp.server").warning("bad request %d", number)
    assert [line["event"] for line in log.lines()] == ["bad request 0"]


def test_a_record_that_cannot_be_formatted_does_not_fail_its_caller(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logging module would print the arguments to stderr, with the token."""
    # pytest's own handlers would raise.
    ours = [h for h in logging.getLogger().handlers if type(h).__module__.startswith("refresherd")]
    monkeypatch.setattr(logging.getLogger(), "handlers", ours)
    template = "%d of %d"
    logging.getLogger("clumsy").warning(template, TOKEN)
    (line,) = log.lines()
    assert (line["event"], line["message"]) == (
        "bug",
        "clumsy logged a record that cannot be formatted",
    )


def test_warnings_of_the_interpreter_are_logged(log: Log) -> None:
    """A deprecation in production is worth a line."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with captured(log.logs):
            warnings.warn(f"old {TOKEN}", UserWarning, stacklevel=1)
    (line,) = log.lines()
    assert line["logger"] == "py.warnings"
    assert "UserWarning: old ***" in line["event"]


async def test_an_uncaught_exception_in_the_loop_is_a_bug() -> None:
    """A task that ends silently would be found weeks later."""
    log = Log()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log.logs.loop_failed)
    error = ValueError(TOKEN)

    def fail() -> None:
        raise error

    loop.call_soon(fail)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    (line,) = log.lines()
    assert (line["level"], line["event"]) == ("error", "bug")
    assert line["message"].startswith("Exception in callback")
    assert line["exception"].endswith("ValueError: ***")


def test_a_report_of_the_loop_without_an_exception_is_logged() -> None:
    """Asyncio has some that are words only."""
    log = Log()
    with asyncio.Runner() as runner:
        log.logs.loop_failed(runner.get_loop(), {"message": "Task was destroyed"})
    assert log.lines() == [{"level": "error", "event": "bug", "message": "Task was destroyed"}]


async def test_a_listener_without_descriptors_is_no_bug() -> None:
    """The operator has to raise a limit, which no traceback would say."""
    log = Log()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log.logs.loop_failed)
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(server.sockets[0].getsockname()):
        resource.setrlimit(resource.RLIMIT_NOFILE, (server.sockets[0].fileno(), hard))
        try:
            await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.close()
    await server.wait_closed()
    loop.set_exception_handler(None)
    line, *_ = log.lines()
    assert (line["level"], line["event"]) == ("error", "cannot accept connections")
    assert line["message"].startswith("Too many open files; raise the limit")
    assert "exception" not in line


def thread_ends() -> None:
    """End a thread with an exception."""

    def fail() -> None:
        raise ValueError(TOKEN)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def finalizer_fails() -> None:
    """Report an exception as the interpreter does for a finalizer."""
    sys.unraisablehook(SimpleNamespace(exc_value=ValueError(TOKEN)))


@pytest.mark.parametrize("fail", [thread_ends, finalizer_fails])
def test_exceptions_that_nobody_can_catch_are_logged_redacted(
    log: Log, fail: Callable[[], None]
) -> None:
    """Python would print them to stderr as they are."""
    fail()
    (line,) = log.lines()
    assert line["event"] == "bug"
    assert line["exception"].endswith("ValueError: ***")


def test_everything_is_restored() -> None:
    """A program that embeds or tests the daemon has its own log."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers), threading.excepthook, sys.unraisablehook)
    with captured(Log().logs):
        assert sys.unraisablehook is not before[3]
    assert before == (root.level, list(root.handlers), threading.excepthook, sys.unraisablehook)
