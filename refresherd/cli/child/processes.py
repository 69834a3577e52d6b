"""The kernel's side of running a program: started, signalled, reaped, and signals awaited."""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from signal import Signals
from threading import get_ident
from time import monotonic
from typing import Self

from refresherd.cli.child.program import IGNORED_BY_PYTHON, not_started
from refresherd.cli.exits import SIGNALLED

FORWARDED = frozenset(
    {
        Signals.SIGINT,
        Signals.SIGTERM,
        Signals.SIGHUP,
        Signals.SIGQUIT,
        Signals.SIGUSR1,
        Signals.SIGUSR2,
        Signals.SIGWINCH,
    }
)

KNOCK = Signals.SIGRTMIN
"""Sent by a thread of this process to have `wait` return."""

AWAITED = FORWARDED | {Signals.SIGCHLD, KNOCK}


@dataclass(frozen=True, slots=True)
class Caught:
    """A signal that came. `from_kernel`: a terminal's, which its whole process group gets."""

    number: Signals
    from_kernel: bool = False


class Processes:
    """While it is entered, signals are awaited and not delivered, in threads begun then as well."""

    def __init__(self) -> None:
        self._mask: set[int] = set()
        self._thread = 0

    def __enter__(self) -> Self:
        # Ignored by whoever started us, a child's end would leave no status.
        signal.signal(Signals.SIGCHLD, signal.SIG_DFL)
        signal.signal(KNOCK, signal.SIG_DFL)
        self._mask = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)}
        self._thread = get_ident()
        return self

    def __exit__(self, *_: object) -> None:
        # What comes too late must not end us before the program's exit status is told.
        signal.signal(KNOCK, signal.SIG_IGN)
        while signal.sigtimedwait(AWAITED, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def now(self) -> float:
        """Return the time in seconds, by a clock that only goes forward."""
        return monotonic()

    def start(self, program: Sequence[str], environ: Mapping[str, str]) -> int:
        """Start a program and return its process id. Raises NotStarted."""
        try:
            return os.posix_spawnp(
                program[0],
                list(program),
                environ,
                setsigmask=self._mask,
                setsigdef=IGNORED_BY_PYTHON,
            )
        except OSError as error:
            raise not_started(program[0], error) from error

    def wait(self, timeout: float | None) -> Caught | None:
        """Return the next signal, None if none comes within `timeout` seconds."""
        if timeout is None:
            info: signal.struct_siginfo | None = signal.sigwaitinfo(AWAITED)
        else:
            info = signal.sigtimedwait(AWAITED, max(0.0, timeout))
        if info is None:
            return None
        return Caught(Signals(info.si_signo), from_kernel=info.si_code > 0)

    def knock(self) -> None:
        """Have `wait` return in the thread that entered."""
        signal.pthread_kill(self._thread, KNOCK)

    def kill(self, pid: int, number: Signals) -> None:
        """Send a signal to a child; one that has become another user's gets none."""
        try:
            os.kill(pid, number)
        except PermissionError:
            return

    def reap(self, pid: int) -> int | None:
        """Return the child's exit status if it has ended, 128 + N if signal N ended it.

        Others' orphans are reaped as well: in a container this may be process 1.
        """
        found = None
        try:
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if ended[0] == pid:
                    code = os.waitstatus_to_exitcode(ended[1])
                    found = code if code >= 0 else SIGNALLED - code
        except ChildProcessError:
            pass
        return found
