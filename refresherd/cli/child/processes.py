"""The kernel's side of running a program: start, signal and reap it, and wait for signals."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from signal import Signals
from threading import get_ident
from time import monotonic
from typing import NoReturn, Self

from refresherd.cli.errors import SIGNALLED, Exit, NotExecuted

FORWARDED = frozenset(
    Signals[f"SIG{name}"] for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH")
)

WAKE_UP = Signals.SIGRTMIN
"""Sent by a thread of this process to make `wait` return."""

AWAITED = FORWARDED | {Signals.SIGCHLD, WAKE_UP}

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Reset for a program, which would inherit this: `yes | head` complains if PIPE is ignored."""

Replace = Callable[[str, list[str], Mapping[str, str]], NoReturn]
"""As os.execvpe."""


@dataclass(frozen=True, slots=True)
class Caught:
    """A signal that arrived."""

    number: Signals
    from_kernel: bool = False
    """True for a terminal's signal, which its whole process group receives."""


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

    def start(self, program: Sequence[str], environ: Mapping[str, str]) -> int:
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
            raise _not_executed(program[0], error) from error

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
        """Send a signal to a child; do nothing if it has become a user whom we may not signal."""
        try:
            os.kill(pid, number)
        except PermissionError:
            return

    def reap(self, pid: int) -> int | None:
        """Return the child's exit status if it has ended, 128 + N if signal N ended it.

        Reaps orphans as well: in a container this may be process 1.
        """
        status = None
        try:
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if ended[0] == pid:
                    code = os.waitstatus_to_exitcode(ended[1])
                    status = code if code >= 0 else SIGNALLED - code
        except ChildProcessError:
            pass
        return status


def replace_process(
    program: Sequence[str], environ: Mapping[str, str], replace: Replace
) -> NoReturn:
    """Replace this process by the program. Raises NotExecuted."""
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        replace(program[0], list(program), environ)
    except OSError as error:
        raise _not_executed(program[0], error) from error


def _not_executed(program: str, error: OSError) -> NotExecuted:
    if isinstance(error, FileNotFoundError):
        return NotExecuted(f"{program}: no such program", Exit.NOT_FOUND)
    return NotExecuted(f"{program}: {error.strerror}", Exit.NOT_EXECUTABLE)
