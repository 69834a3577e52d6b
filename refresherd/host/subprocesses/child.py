"""Runs a program: takes what it prints, waits for its end, and leaves nothing of it behind."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from errno import EAGAIN
from subprocess import Popen
from typing import TypeVar

from refresherd.host.subprocesses.pipes import Pipes, Take
from refresherd.host.subprocesses.program import Program, exit_status, start

T = TypeVar("T")

GRACE_SECONDS = 0.5
"""Between TERM and KILL."""

LEFTOVER_SECONDS = 1.0
"""For the pipes to close once a program ended: children that live on may keep them open."""


async def run(program: Program, timeout: float, stdout: Take, stderr: Take | None = None) -> int:
    """Run a program without input; return its exit status, or a signal's number less than 0.

    `stdout` takes what it prints; without a `stderr` that as well, in the order of printing.
    Raises OSError where it cannot be started, and TimeoutError if it takes over `timeout`
    seconds. Then, when one of them has enough, and when cancelled, its process group is ended
    by TERM, and half a second later by KILL. What has left the group, as daemons do, lives on.
    So does what a program started that ends by itself; only, nobody listens to it any more.
    """
    child = _Child(program, stdout, stderr)
    child.begin()
    try:
        async with asyncio.timeout(timeout):
            await child.over
        if child.exited.is_set():
            await _within(LEFTOVER_SECONDS, child.pipes.closed)
    finally:
        await child.end()
    return child.status


class _Child:
    """A program that runs. All but `_work` happens in the loop."""

    def __init__(self, program: Program, stdout: Take, stderr: Take | None) -> None:
        self._program = program
        self._loop = asyncio.get_running_loop()
        self._process: Popen[bytes] | None = None
        self.exited = asyncio.Event()
        self._abandoned = False
        self._let_go = threading.Event()
        self.over: asyncio.Future[None] = self._loop.create_future()
        """It ended, or printed more than enough; raises what kept it from starting."""
        self.pipes = Pipes(stdout, stderr, self.over)
        self.status: int = -signal.SIGKILL
        """Its exit status once it has ended; KILL's, which nothing escapes, until then."""

    def begin(self) -> None:
        """Start it, soon. Raises OSError."""
        try:
            threading.Thread(target=self._work, name="child", daemon=True).start()
        except RuntimeError:  # the process may have no more threads
            raise OSError(EAGAIN, os.strerror(EAGAIN)) from None

    async def end(self) -> None:
        """End what runs of it, unless it has ended by itself, and let go of it."""
        unfinished = not self.exited.is_set()
        try:
            if unfinished:
                self._signal(signal.SIGTERM)
                await _within(GRACE_SECONDS, self.exited, self.pipes.closed)
        finally:
            if unfinished:
                self._abandoned = True
                # Whether it has ended by now or not: what it started may ignore TERM.
                self._signal(signal.SIGKILL)
            self.pipes.leave()
            self._let_go.set()

    def _work(self) -> None:
        """Start the program, wait for its end, and reap it when the loop has let go of it.

        Until then no other process group is given its number.
        """
        try:
            process = start(self._program, merged=self.pipes.merged)
        except Exception as error:  # noqa: BLE001  # raised anew where the program is awaited
            self._tell(self._failed, error)
            return
        with process:
            self._process = process
            if self._abandoned:  # while it was being started
                self._signal(signal.SIGKILL)
            self._tell(self.pipes.listen, process)
            self._tell(self._ended, exit_status(process.pid))
            self._let_go.wait()

    def _tell(self, call: Callable[[T], None], argument: T) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody wants to know any more
            self._loop.call_soon_threadsafe(call, argument)

    def _failed(self, error: Exception) -> None:
        self.exited.set()
        if not self.over.done():
            self.over.set_exception(error)

    def _ended(self, status: int) -> None:
        self.status = status
        self.exited.set()
        if not self.over.done():
            self.over.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the process group. What runs as another user, as sudo does, is out of reach."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


async def _within(seconds: float, *events: asyncio.Event) -> None:
    """Wait for all of these events, but no longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()
