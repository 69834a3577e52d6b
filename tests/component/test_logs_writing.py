"""Log lines on real pipes and full disks: none of them stops the daemon."""

import errno
import json
import os
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, TextIO

import pytest

from refresherd.adapters import logs as logs_package
from refresherd.adapters.logs.observer import Logs
from refresherd.adapters.logs.pipeline import configure
from refresherd.adapters.logs.writer import MAX_LINES, LineWriter
from refresherd.domain.events import Started
from refresherd.domain.model import Instant
from support.fakes import FakeClock

STARTED = Started("1.0", 1)


class FastClock(FakeClock):
    """A clock on which so much time passes that the rate limit drops nothing."""

    def now(self) -> Instant:
        """Return a time that is later with each call."""
        self.advance(0.01)
        return super().now()


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Yield the ends of a pipe: a descriptor to read, a stream to log to."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream


def logs_to(stream: TextIO) -> Logs:
    """Return logs that write JSON to a stream."""
    return configure("info", "json", stream, FastClock())


class Reader(threading.Thread):
    """Collects lines from a pipe until its end."""

    def __init__(self, reading: int) -> None:
        super().__init__()
        self._reading = reading
        self.lines: list[dict[str, Any]] = []
        self.start()

    def run(self) -> None:
        """Read."""
        with os.fdopen(self._reading) as source:
            for line in source:
                self.lines.append(json.loads(line))


def finish(logs: Logs, stream: TextIO, reader: Reader) -> list[dict[str, Any]]:
    """Close everything, and return all lines."""
    logs.close(timeout=10)
    stream.close()
    reader.join(10)
    return reader.lines


def test_lines_arrive_in_order_and_whole(pipe: tuple[int, TextIO]) -> None:
    """This holds for more lines than a pipe takes at once."""
    reading, stream = pipe
    logs, reader = logs_to(stream), Reader(reading)
    for number in range(3000):
        logs.observe(Started("1.0", number))
    assert [line["apps"] for line in finish(logs, stream, reader)] == list(range(3000))


@pytest.mark.timing
def test_a_stalled_reader_delays_nothing(pipe: tuple[int, TextIO]) -> None:
    """A hanging log collector must delay neither refreshes nor a stop."""
    reading, stream = pipe
    logs = logs_to(stream)
    began = time.monotonic()
    for _ in range(MAX_LINES + 2000):
        logs.observe(STARTED)
    assert time.monotonic() - began < 5.0
    began = time.monotonic()
    logs.close(timeout=0.2)
    assert time.monotonic() - began < 1.0
    finish(logs, stream, Reader(reading))


def test_the_next_line_that_fits_has_the_number_of_dropped_lines(pipe: tuple[int, TextIO]) -> None:
    """A gap that does not show would mislead the reader."""
    reading, stream = pipe
    logs = logs_to(stream)
    observed = MAX_LINES + 2000
    for _ in range(observed):
        logs.observe(STARTED)
    reader = Reader(reading)
    deadline = time.monotonic() + 10
    while not any("dropped" in line for line in reader.lines):
        assert time.monotonic() < deadline
        logs.observe(STARTED)
        observed += 1
        time.sleep(0.01)
    lines = finish(logs, stream, reader)
    dropped = [line["dropped"] for line in lines if "dropped" in line]
    assert len(lines) + sum(dropped) == observed
    assert sum(dropped) == logs.dropped()


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, TextIO]) -> None:
    """`refresherd run | head` must not end in a traceback; the metrics tell what is lost."""
    reading, stream = pipe
    logs = logs_to(stream)
    os.close(reading)
    for _ in range(3):
        logs.observe(STARTED)
        time.sleep(0.02)
    logs.close()
    assert logs.dropped() == 3


def test_lines_wait_for_a_non_blocking_pipe(pipe: tuple[int, TextIO]) -> None:
    """The flag belongs to the pipe, and another process may set it."""
    reading, stream = pipe
    os.set_blocking(stream.fileno(), False)  # positional only
    logs = logs_to(stream)
    for _ in range(2000):
        logs.observe(STARTED)
    time.sleep(0.1)
    assert len(finish(logs, stream, Reader(reading))) == 2000


def test_a_full_disk_costs_only_the_lines_it_has_no_room_for() -> None:
    """It may have room again later."""
    written: list[bytes] = []
    full = threading.Event()
    full.set()
    tried = threading.Event()

    def write(lines: Sequence[bytes]) -> None:
        tried.set()
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        written.extend(lines)

    writer = LineWriter(write)
    writer.put(b"lost\n")
    assert tried.wait(10)
    while (dropped := writer.take_dropped()) == 0:
        time.sleep(0.01)
    assert dropped == 1
    full.clear()
    writer.put(b"kept\n")
    writer.close(10)
    assert b"".join(written) == b"kept\n"


def test_the_interpreter_ends_though_its_log_hangs() -> None:
    """With a thread that hangs in a buffered write, Python would abort."""
    program = (
        "import sys; from refresherd.adapters.logs import pipeline\n"
        "from refresherd.host.clock import BootClock;"
        "from refresherd.domain.events import Started;"
        "log = pipeline.configure('info', 'json', sys.stderr, BootClock());"
        "[log.observe(Started('1.0', 1)) for _ in range(3000)]; log.close(0.1)"
    )
    reading, writing = os.pipe()
    done = subprocess.run([sys.executable, "-c", program], stderr=writing, timeout=30, check=False)
    os.close(writing)
    os.close(reading)
    assert done.returncode == 0


def test_the_log_does_not_import_rich() -> None:
    """Structlog would import it for tracebacks that are never used: 3.6 MiB."""
    program = (
        "import sys, refresherd.adapters.logs.pipeline\n"
        "assert not [m for m in sys.modules if m.startswith('rich')];"
        "import rich.console"
    )
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)


@pytest.mark.parametrize("rich", [None, ModuleType("rich")])
def test_rich_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, rich: ModuleType | None) -> None:
    """The demo uses rich in the process that logs."""
    monkeypatch.delitem(sys.modules, "rich", raising=False)
    if rich is not None:
        monkeypatch.setitem(sys.modules, "rich", rich)
    runpy.run_path(str(logs_package.__file__))
    assert sys.modules.get("rich") is rich
