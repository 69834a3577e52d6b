"""Runs a program as a child of this process, with the newest token in its environment."""

import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from signal import Signals
from threading import get_ident
from time import monotonic
from typing import NoReturn, Self

from refresherd.cli.errors import CommandError, Exit

FORWARDED = frozenset(
    Signals[f"SIG{name}"] for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH")
)

WAKE_UP = Signals.SIGRTMIN
"""Sent by a thread of this process to make `wait` return."""

AWAITED = FORWARDED | {Signals.SIGCHLD, WAKE_UP}

ENDING = frozenset({Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT})
"""After one of these the program is not restarted, even for a new token."""

TO_THE_GROUP = frozenset({Signals.SIGINT, Signals.SIGQUIT, Signals.SIGWINCH})
"""A terminal sends these to the program too, to which a repeated one could mean something else."""

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""A program would inherit this, so they are reset: `yes | head` complains if PIPE is ignored."""

GRACE = 10.0
"""Seconds from TERM to KILL."""

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Caught:
    """A signal that arrived."""

    number: Signals
    from_kernel: bool = False
    """True for a terminal's signal, which its whole process group receives."""


class NotExecuted(CommandError):
    """A program could not be started; `status` is what env(1) would return."""

    def __init__(self, program: str, error: OSError) -> None:
        missing = isinstance(error, FileNotFoundError)
        super().__init__(f"{program}: {'no such program' if missing else error.strerror}")
        self.status = Exit.NOT_FOUND if missing else Exit.NOT_EXECUTABLE


class Processes:
    """A context in which signals are not delivered but wait for `wait`.

    Threads started inside it hold them back as well.
    """

    def __init__(self) -> None:
        self._mask: set[int] = set()
        self._thread = 0

    def __enter__(self) -> Self:
        # If our parent ignored SIGCHLD, a child's end would leave no status.
        signal.signal(Signals.SIGCHLD, signal.SIG_DFL)
        signal.signal(WAKE_UP, signal.SIG_DFL)
        self._mask = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)}
        self._thread = get_ident()
        return self

    def __exit__(self, *_: object) -> None:
        # A late signal must not end this process before it returns the program's exit status.
        signal.signal(WAKE_UP, signal.SIG_IGN)
        while signal.sigtimedwait(AWAITED, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def now(self) -> float:
        """Return the time in seconds, from a monotonic clock."""
        return monotonic()

    def start(self, program: Sequence[str], environ: Environ) -> int:
        """Start a program and return its process id. Raises NotExecuted."""
        try:
            return os.posix_spawnp(
                program[0],
                list(program),
                environ,
                setsigmask=self._mask,
                setsigdef=IGNORED_BY_PYTHON,
            )
        except OSError as error:
            raise NotExecuted(program[0], error) from error

    def wait(self, timeout: float | None) -> Caught | None:
        """Return the next signal, or None if there is none within `timeout` seconds."""
        if timeout is None:
            info: signal.struct_siginfo | None = signal.sigwaitinfo(AWAITED)
        else:
            info = signal.sigtimedwait(AWAITED, max(0.0, timeout))
        if info is None:
            return None
        return Caught(Signals(info.si_signo), from_kernel=info.si_code > 0)

    def wake_up(self) -> None:
        """Make `wait` return in the thread that entered the context."""
        signal.pthread_kill(self._thread, WAKE_UP)

    def kill(self, pid: int, number: Signals) -> None:
        """Send a signal to a child; do nothing if this user may not signal it."""
        with suppress(PermissionError):
            os.kill(pid, number)

    def reap(self, pid: int) -> int | None:
        """Return the child's exit status if it has ended, 128 + N if signal N ended it.

        Reaps orphans as well: in a container this may be process 1.
        """
        status = None
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if ended[0] == pid:
                    code = os.waitstatus_to_exitcode(ended[1])
                    status = code if code >= 0 else 128 - code  # as in a shell
        return status


class Runner:
    """Runs a program; on each new token restarts it, or sends it the signal `on_refresh`."""

    def __init__(
        self, processes: Processes, program: Sequence[str], on_refresh: Signals | None
    ) -> None:
        self._processes = processes
        self._program = program
        self._on_refresh = on_refresh
        self._newest: deque[Environ] = deque(maxlen=1)
        self._environ: Environ = {}
        self._pid = 0
        self._restarting = False
        self._ending = False
        self._kill_at: float | None = None

    def offer(self, environ: Environ) -> None:
        """Pass on the environment with a new token; called from another thread."""
        self._newest.append(environ)
        self._processes.wake_up()

    def run(self, environ: Environ) -> int:
        """Start the program and return its exit status once it has ended by itself."""
        self._environ = environ
        self._start()
        status = None
        while status is None:
            left = None if self._kill_at is None else self._kill_at - self._processes.now()
            caught = self._processes.wait(left)
            if caught is None:
                self._kill_at = None
                self._processes.kill(self._pid, Signals.SIGKILL)
            elif caught.number is WAKE_UP:
                status = self._use_newest()
            elif caught.number is Signals.SIGCHLD:
                status = self._processes.reap(self._pid)
                if status is not None and self._restarting and not self._ending:
                    status = None
                    self._start()
            else:
                self._ending = self._ending or caught.number in ENDING
                if not (caught.from_kernel and caught.number in TO_THE_GROUP):
                    self._processes.kill(self._pid, caught.number)
        return status

    def _start(self) -> None:
        self._restarting = False
        self._kill_at = None
        self._pid = self._processes.start(self._program, self._environ)

    def _use_newest(self) -> int | None:
        """Act on a new token; return the exit status if the program had ended before it came."""
        if not self._newest:
            return None
        self._environ = self._newest.pop()
        if not self._restarting and (status := self._processes.reap(self._pid)) is not None:
            return status
        if self._on_refresh is not None:
            self._processes.kill(self._pid, self._on_refresh)
        elif not self._restarting and not self._ending:
            self._restarting = True
            self._kill_at = self._processes.now() + GRACE
            self._processes.kill(self._pid, Signals.SIGTERM)
        return None


def replace_process(program: Sequence[str], environ: Environ) -> NoReturn:
    """Replace this process by the program. Raises NotExecuted."""
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(program[0], list(program), environ)  # noqa: S606  # as intended
    except OSError as error:
        raise NotExecuted(program[0], error) from error
