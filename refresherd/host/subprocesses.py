"""Runs programs off the event loop, each in a session of its own that is ended as a whole.

asyncio starts a program in the event loop, which a hanging file system would stop, and waits for
its end until every grandchild has closed the pipes as well. Here each program has a thread of its
own, which starts it and waits for its end, and for nothing else.

`refresherd exec` does not use this: its program keeps the terminal and the caller's process group,
gets every signal that the caller gets, and runs without an event loop.
"""

import asyncio
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EAGAIN, ENOENT
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from textwrap import shorten
from typing import cast

from refresherd.host.os_errors import NO_THREAD

GRACE_SECONDS = 0.5
"""Between TERM and KILL."""

PIPE_SECONDS = 1.0
"""How long to read on after a program ended: children that live on may keep its pipes open."""

PIECE = 64 * 1024
"""As many bytes as a pipe holds: pipe(7)."""

MAX_TAIL = 64 * 1024
"""Bytes of output kept by a `Tail`. All is read, or the program would block on a full pipe."""

MAX_LINE = 200

Take = Callable[[bytes], bool]
"""Takes a piece of a program's output; returns False to say that this is more than enough."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run."""

    argv: tuple[str, ...]
    """A name without a slash is looked up on the PATH of `environ`."""
    environ: Mapping[str, str] = field(repr=False)
    directory: str | None = None
    """Where it runs, None for the daemon's own directory."""
    umask: int = -1
    """-1 leaves it the daemon's."""


class Tail:
    """The last lines of a program's output, for people."""

    def __init__(self) -> None:
        self._printed = b""

    def take(self, piece: bytes) -> bool:
        """Take a piece of output; there may be any number of them."""
        self._printed = (self._printed + piece)[-MAX_TAIL:]
        return True

    def lines(self, count: int) -> str:
        """Return the last lines joined into one.

        Words stay whole or go: the log would not recognise half a secret.
        """
        text = self._printed.decode(errors="replace")
        if len(self._printed) == MAX_TAIL:
            text = re.sub(r"\A\S+", "", text, count=1)
        plain = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
        lines = [line for line in plain.split("\n") if line.strip()]
        return "; ".join(
            shorten(
                line, MAX_LINE, placeholder=" …", break_long_words=False, break_on_hyphens=False
            )
            for line in lines[-count:]
        )

    def complaint(self, status: int, lines: int = 1) -> str:
        """Return how the program failed: its exit status (below 0: signal) and last lines."""
        how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        said = self.lines(lines)
        return f"{how}: {said}" if said else how


async def run(
    program: Program,
    timeout: float,
    stdout: Take,
    stderr: Take | None = None,
    *,
    pipe_timeout: float = PIPE_SECONDS,
) -> int:
    """Run a program without input; return its exit status, or a signal's number less than 0.

    `stdout` takes its standard output; without a `stderr` its standard error as well, in order.
    Raises OSError if it cannot be started, and TimeoutError if it takes over `timeout` seconds.

    On a timeout, on cancellation, or when a `Take` has enough, its process group gets TERM, and
    half a second later KILL. Children that left the group, as daemons do, live on; so do children
    of a program that ended by itself, but their output is read for `pipe_timeout` seconds only.
    """
    child = _Child(program, stdout, stderr)
    child.begin()
    try:
        async with asyncio.timeout(timeout):
            await child.finished
        if child.exited.is_set():
            await _within(pipe_timeout, child.closed)
    finally:
        await child.end()
    return child.status


class _Child:
    """A program and its output. All methods but `_work` run in the event loop."""

    def __init__(self, program: Program, stdout: Take, stderr: Take | None) -> None:
        self._program = program
        self._takes = stdout, stderr
        self._loop = asyncio.get_running_loop()
        self._process: Popen[bytes] | None = None
        self._pipes: set[int] = set()
        """Those that are being read."""
        self._ended = False
        self._may_reap = threading.Event()
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        """No process is left that could print."""
        self.finished: asyncio.Future[None] = self._loop.create_future()
        """Done when it exited or printed enough; raises what kept it from starting."""
        self.status: int = -signal.SIGKILL
        """Its exit status once it has exited; until then KILL's, which ends everything."""

    def begin(self) -> None:
        """Start it, soon. Raises OSError."""
        try:
            threading.Thread(target=self._work, name="child", daemon=True).start()
        except RuntimeError:  # the process may start no more threads
            raise OSError(EAGAIN, NO_THREAD) from None

    async def end(self) -> None:
        """End what still runs of it, unless it exited by itself, and have it reaped."""
        running = not self.exited.is_set()
        try:
            if running:
                self._signal(signal.SIGTERM)
                await _within(GRACE_SECONDS, self.exited, self.closed)
        finally:
            self._ended = True
            if running:
                # Even if the program has exited by now: its children may ignore TERM.
                self._signal(signal.SIGKILL)
            for pipe in self._pipes:
                self._loop.remove_reader(pipe)
            self._may_reap.set()

    def _work(self) -> None:
        """Start the program, wait for its exit, and reap it once the loop is done with it.

        Until it is reaped, no other process group can get its number.
        """
        try:
            process = _start(self._program, merged=self._takes[1] is None)
        except Exception as error:  # noqa: BLE001  # raised anew where the program is awaited
            self._in_loop(self._not_started, error)
            return
        with process:
            self._process = process
            if self._ended:  # while it was being started
                self._signal(signal.SIGKILL)
            self._in_loop(self._started, process)
            self._in_loop(self._exited, _exit_status(process.pid))
            self._may_reap.wait()

    def _in_loop(self, call: Callable[..., None], argument: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(call, argument)

    def _started(self, process: "Popen[bytes]") -> None:
        """Read the output as it comes, since on a full pipe the program would block."""
        for stream, take in zip((process.stdout, process.stderr), self._takes, strict=True):
            if stream is not None and take is not None and not self._ended:
                self._pipes.add(stream.fileno())
                self._loop.add_reader(stream.fileno(), self._read, stream.fileno(), take)

    def _read(self, pipe: int, take: Take) -> None:
        piece = os.read(pipe, PIECE)
        if not piece:
            self._loop.remove_reader(pipe)
            self._pipes.remove(pipe)
            if not self._pipes:
                self.closed.set()
        elif not take(piece) and not self.finished.done():
            self.finished.set_result(None)

    def _not_started(self, error: Exception) -> None:
        self.exited.set()
        if not self.finished.done():
            self.finished.set_exception(error)

    def _exited(self, status: int) -> None:
        self.status = status
        self.exited.set()
        if not self.finished.done():
            self.finished.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the process group. What runs as another user, such as sudo, is out of reach."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _start(program: Program, *, merged: bool) -> "Popen[bytes]":
    """Start a program in a session of its own, with no other descriptors. It blocks.

    With `merged`, standard error goes the way of standard output. Raises OSError.
    """
    return Popen(  # noqa: S603  # the operator's own command, from the configuration
        program.argv,
        executable=_executable(program),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT if merged else PIPE,
        bufsize=0,
        cwd=program.directory,
        env=program.environ,
        umask=program.umask,
        start_new_session=True,
    )


def find(program: Program) -> str:
    """Return the path of a program that can be run, "" if there is none. It may block."""
    return shutil.which(program.argv[0], path=program.environ.get("PATH", os.defpath)) or ""


def _executable(program: Program) -> str:
    """Return the program's path, after reading from it. Raises OSError.

    If its file system hangs, this read hangs, in this thread alone. Popen would hang in vfork(2),
    which holds Python's lock and with it all other threads.
    """
    path = program.argv[0]
    if "/" not in path:
        path = find(program)
    if not path:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), program.argv[0])
    with suppress(OSError), Path(path).open("rb") as file:  # Popen raises what is wrong with it
        file.read(1)
    return path


def _exit_status(pid: int) -> int:
    """Wait for a child's exit; return its exit status, or a signal's number less than 0.

    The child is not reaped, so that no other process group gets its number.
    """
    try:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return 0  # with SIGCHLD ignored there is no status; subprocess assumes success as well
    end = cast(os.waitid_result, result)  # None comes with WNOHANG only
    return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status


async def _within(seconds: float, *events: asyncio.Event) -> None:
    """Wait for all of these events, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()
