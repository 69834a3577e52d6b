"""Log lines for the journal: on a socket of the test, and on standard error."""

import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

import pytest

from refresherd.adapters.logs.pipeline import configure
from refresherd.adapters.logs.writer import LineWriter, write_to_journal
from refresherd.domain.events import AppCrashed, Event, OutputFailed, Started, Warned
from support.fakes import FakeClock

FAILED = OutputFailed("payments", "/run/a", "disk full\nAPP=forged", 1.0)
CRASHED = AppCrashed("payments", ValueError("broken"), 1.0)


class Journal:
    """A journal that understands the native protocol alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(10)
        self._socket.bind(str(path))

    def entry(self) -> dict[str, str]:
        """Return the next entry's fields."""
        left, fields = self._socket.recv(1 << 18), {}
        while left:
            line, _, left = left.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (length,) = struct.unpack("<Q", left[:8])
                value, left = left[8 : 8 + length], left[9 + length :]
            assert name.decode() not in fields
            fields[name.decode()] = value.decode()
        return fields

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Yield a journal."""
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[TextIO]:
    """Yield a stream."""
    with (tmp_path / "stderr").open("w+") as stream:
        yield stream


def log(
    form: str, stream: TextIO, path: Path, *events: Event, journal_stream: str | None = None
) -> str:
    """Log some events, and return what was written to the stream.

    By default $JOURNAL_STREAM says that the stream leads to the journal.
    """
    status = os.fstat(stream.fileno())
    environ = {"JOURNAL_STREAM": journal_stream or f"{status.st_dev}:{status.st_ino}"}
    logs = configure("info", form, stream, FakeClock(), environ, path)
    for event in events:
        logs.observe(event)
    logs.close()
    stream.seek(0)
    return stream.read()


def test_an_entry_has_its_app_and_its_level(journal: Journal, stderr: TextIO) -> None:
    """An operator asks with `journalctl APP=payments -p warning`."""
    assert log("auto", stderr, journal.path, FAILED) == ""
    entry = journal.entry()
    assert (entry["APP"], entry["PRIORITY"]) == ("payments", "4")
    assert entry["SYSLOG_IDENTIFIER"] == "refresherd"
    assert entry["REFRESHERD_EVENT"] == "output failed"
    assert entry["REFRESHERD_OUTPUT"] == "/run/a"
    assert entry["REFRESHERD_RETRY_IN"] == "1.0"
    assert entry["MESSAGE"].startswith("output failed   payments /run/a retry_in=1s: disk full")


def test_no_value_forges_a_field(journal: Journal, stderr: TextIO) -> None:
    """A text from DSM, or a path, may have several lines."""
    log("auto", stderr, journal.path, FAILED)
    entry = journal.entry()
    assert entry["APP"] == "payments"
    assert entry["REFRESHERD_MESSAGE"] == "disk full\nAPP=forged"


def test_a_traceback_is_part_of_the_message(journal: Journal, stderr: TextIO) -> None:
    """The journal shows messages of several lines."""
    log("auto", stderr, journal.path, CRASHED, Started("1.0", 1))
    crashed, started = journal.entry(), journal.entry()
    assert "ValueError: broken" in crashed["MESSAGE"]
    assert (crashed["PRIORITY"], started["PRIORITY"]) == ("3", "6")
    assert "APP" not in started


@pytest.mark.parametrize("form", ["json", "console"])
def test_lines_of_a_configured_format_carry_their_level(
    form: str, journal: Journal, stderr: TextIO
) -> None:
    """`journalctl -p` works for every line, also of a traceback."""
    lines = log(form, stderr, journal.path, Warned("hm"), CRASHED).splitlines()
    assert lines[0].startswith("<4>")
    assert all(line.startswith("<3>") for line in lines[1:])
    if form == "json":
        assert json.loads(lines[0].removeprefix("<4>"))["message"] == "hm"


def test_without_the_journals_socket_the_lines_are_json(tmp_path: Path, stderr: TextIO) -> None:
    """A service that cannot see /run still logs lines with their level."""
    (line,) = log("auto", stderr, tmp_path / "none", Warned("hm")).splitlines()
    assert json.loads(line.removeprefix("<4>"))["message"] == "hm"


def test_a_redirected_stream_gets_plain_lines(journal: Journal, stderr: TextIO) -> None:
    """After `2>file` in a wrapper, the variable still names the original stream."""
    lines = log("auto", stderr, journal.path, Warned("hm"), journal_stream="1:2")
    (line,) = lines.splitlines()
    assert json.loads(line)["message"] == "hm"


def test_entries_that_the_journal_did_not_accept_are_counted(tmp_path: Path) -> None:
    """A journal that restarts must end neither the log nor the daemon."""
    path = tmp_path / "journal"
    writer = LineWriter(partial(write_to_journal, path))
    writer.put(b"MESSAGE=lost\n")
    deadline = time.monotonic() + 10
    while (dropped := writer.take_dropped()) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert dropped == 1
    journal = Journal(path)
    writer.put(b"MESSAGE=written\n")
    assert journal.entry() == {"MESSAGE": "written"}
    writer.close(10)
    journal.close()
