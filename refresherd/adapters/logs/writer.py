"""Writes log lines in a thread of its own: a reader who stalls must not stall the daemon."""

import os
import select
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import TextIO, TypeAlias

Write: TypeAlias = Callable[[Sequence[bytes]], None]
"""Takes lines in their order; an empty one, which ends them, is to be passed over."""

MAX_LINES = 10_000
"""More than so many unwritten lines are dropped, and counted."""

MAX_BATCH = 256
"""Lines to a write: with one each the interpreter would change threads for every line."""

POLL_MILLISECONDS = 1000

CLOSE = b""


class LineWriter:
    """A queue of lines in front of a stream. Every method is safe in any thread."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._lock = threading.Lock()
        self._dropped = 0
        self._thread = threading.Thread(target=self._work, name="refresherd-logs", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether a line would be taken now."""
        return self._lines.qsize() < MAX_LINES

    def put(self, line: bytes) -> None:
        """Have a line written soon, or drop it if there is no room."""
        if self.has_room:
            self._lines.put(line)
        else:
            self.drop(1)

    def drop(self, lines: int) -> None:
        """Count lines that are not written."""
        with self._lock:
            self._dropped += lines

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was last asked."""
        if self._dropped == 0:
            return 0
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self, timeout: float) -> None:
        """Write what is left, for at most `timeout` seconds."""
        self._lines.put(CLOSE)
        self._thread.join(timeout)

    def _work(self) -> None:
        closing = False
        while not closing:
            batch = self._batch()
            closing = batch[-1] == CLOSE
            try:
                self._write(batch)
            except BrokenPipeError:
                # Nobody reads any more, and nobody is left to be told so.
                self._write = _discard
            except OSError:
                # A full disk, say, which may have room again.
                self.drop(len(batch))

    def _batch(self) -> list[bytes]:
        """Return the lines that wait, CLOSE last once there will be no more."""
        batch = [self._lines.get()]
        while batch[-1] != CLOSE and len(batch) < MAX_BATCH and not self._lines.empty():
            batch.append(self._lines.get())
        return batch


def writing_to(stream: TextIO) -> Write:
    """Return what writes to a stream, past its buffer.

    A thread that hangs in a buffered write holds the buffer's lock, and the
    interpreter aborts when it cannot have that lock to flush the stream at its end.
    """
    try:
        descriptor = stream.fileno()
    except OSError:
        return partial(_write_text, stream)
    return partial(_write_all, descriptor)


def _write_text(stream: TextIO, lines: Sequence[bytes]) -> None:
    stream.write(b"".join(lines).decode())
    stream.flush()


def _write_all(descriptor: int, lines: Sequence[bytes]) -> None:
    left = memoryview(b"".join(lines))
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Whoever shares the terminal or pipe may have made it non-blocking for all.
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll(POLL_MILLISECONDS)


def _discard(_: Sequence[bytes]) -> None:
    pass
