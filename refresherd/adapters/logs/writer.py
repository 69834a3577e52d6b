"""Writes log lines in a thread: a reader that stalls must not stall the daemon."""

import os
import select
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO, TypeAlias

Write: TypeAlias = Callable[[Sequence[bytes]], None]
"""Writes lines in order. Skips the empty line that ends the last batch. Raises OSError."""

MAX_LINES = 10_000
"""Lines in the queue; further lines are dropped and counted."""

MAX_BATCH = 256
"""Lines per write: with a write for each, the interpreter would switch threads for each."""

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")

CLOSE = b""
"""The last line ever."""


class LineWriter:
    """A queue of lines in front of a destination. Every method is safe in any thread."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._lock = threading.Lock()
        self.dropped = 0
        """How many lines were dropped since the start."""
        self._taken = 0
        self._thread = threading.Thread(target=self._work, name="refresherd-logs", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether the queue would take a line now."""
        return self._lines.qsize() < MAX_LINES

    def put(self, line: bytes) -> None:
        """Queue a line, or drop it if there is no room."""
        if self.has_room:
            self._lines.put(line)
        else:
            self.drop(1)

    def drop(self, lines: int) -> None:
        """Count lines that are not written."""
        with self._lock:
            self.dropped += lines

    def take_dropped(self) -> int:
        """Return the number of lines that were dropped since the last call."""
        if self.dropped == self._taken:
            return 0
        with self._lock:
            before, self._taken = self._taken, self.dropped
            return self._taken - before

    def close(self, timeout: float) -> None:
        """Write the queued lines, for at most `timeout` seconds."""
        self._lines.put(CLOSE)
        self._thread.join(timeout)

    def _work(self) -> None:
        closing = False
        while not closing:
            batch = [self._lines.get()]
            while batch[-1] != CLOSE and len(batch) < MAX_BATCH and not self._lines.empty():
                batch.append(self._lines.get())
            closing = batch[-1] == CLOSE
            try:
                self._write(batch)
            except BrokenPipeError:
                # The reader is gone for good.
                self._write = self._lose
                self._lose(batch)
            except OSError:
                # A full disk, for example, may have room again later.
                self._lose(batch)

    def _lose(self, lines: Sequence[bytes]) -> None:
        self.drop(sum(line != CLOSE for line in lines))


def writing_to(stream: TextIO) -> Write:
    """Return a function that writes to a stream, bypassing its buffer.

    A thread that hangs in a buffered write holds the buffer's lock, and the interpreter aborts at
    its end if it cannot get that lock to flush the stream.
    """
    try:
        descriptor = stream.fileno()
    except OSError:

        def write_text(lines: Sequence[bytes]) -> None:
            stream.write(b"".join(lines).decode())
            stream.flush()

        return write_text
    return partial(_write_all, descriptor)


def leads_to_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether systemd's journal reads a stream: systemd.exec(5).

    $JOURNAL_STREAM holds the device and inode of standard error at the start of the service. If
    they differ from the stream's, it has been redirected.
    """
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


def write_to_journal(path: Path, entries: Sequence[bytes]) -> None:
    """Send entries of the journal's native protocol to its socket. Raises OSError.

    An entry is bounded and far smaller than a datagram may be (net.core.wmem_default), so none has
    to be passed as a file.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        for entry in filter(None, entries):
            journal.sendto(entry, str(path))


def _write_all(descriptor: int, lines: Sequence[bytes]) -> None:
    left = memoryview(b"".join(lines))
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Another process that shares the terminal or pipe may have made it non-blocking.
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll(1000)  # milliseconds
