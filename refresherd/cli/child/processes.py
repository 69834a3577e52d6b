"""This process: its signals, its child, and all descendants of that child."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from threading import get_ident
from time import monotonic
from typing import NoReturn, Self

from refresherd.cli.errors import CommandError, Exit
from refresherd.host import process

CAUGHT = frozenset(signal.valid_signals() - {Signals.SIGKILL, Signals.SIGSTOP})
"""Every signal that can be caught. A fault of this process itself still ends it."""

WAKE_UP = Signals.SIGCHLD
"""Makes `wait` return: a child has ended or stopped, or a thread called `wake_up`."""

JOB_CONTROL = frozenset({Signals.SIGTSTP, Signals.SIGTTIN, Signals.SIGTTOU})
"""If one of these stops the program, this process stops itself too, for the shell to see."""

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""A program would inherit this, so they are reset: `yes | head` complains if PIPE is ignored."""

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Caught:
    """A signal that arrived."""

    number: int
    """Real-time signals have no names, except the first and the last one."""
    from_kernel: bool = False
    """True for a terminal's signal, which its whole process group receives."""


class NotExecuted(CommandError):
    """A program could not be started; `status` is what env(1) would return."""

    def __init__(self, program: str, error: OSError) -> None:
        missing = isinstance(error, FileNotFoundError)
        super().__init__(f"{program}: {'no such program' if missing else error.strerror}")
        self.status = Exit.NOT_FOUND if missing else Exit.NOT_EXECUTABLE


class Processes:
    """A context in which signals are held back until `wait` returns them.

    Threads started inside it hold them back as well. A descendant that loses its parent becomes a
    child of this process, so that none escapes.
    """

    def __init__(self) -> None:
        self._mask: set[int] = set()
        self._thread = 0
        self._prctl = process.prctl()

    def __enter__(self) -> Self:
        # If our parent ignored SIGCHLD, a child's end would leave no status.
        signal.signal(WAKE_UP, signal.SIG_DFL)
        self._mask = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)}
        self._thread = get_ident()
        self._prctl(process.PR_SET_CHILD_SUBREAPER, 1)
        return self

    def __exit__(self, *_: object) -> None:
        # A late signal must not end this process before it returns the program's exit status.
        while signal.sigtimedwait(CAUGHT, 0):
            pass
        self._prctl(process.PR_SET_CHILD_SUBREAPER, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def now(self) -> float:
        """Return the time in seconds, from a monotonic clock."""
        return monotonic()

    def start(self, program: Sequence[str], environ: Environ) -> int:
        """Start a program, which the kernel kills if this process is killed, and return its id.

        Call it in the thread that entered the context: the kernel takes that for the parent.
        Raises NotExecuted.
        """
        parent = os.getpid()
        fault, report = os.pipe()
        # posix_spawn(3) would do, if it could tell the kernel to end the child with its parent.
        pid = os.fork()
        if not pid:
            self._become(program, environ, parent, report)
        os.close(report)
        number = os.read(fault, 8)
        os.close(fault)
        if not number:  # the pipe was closed by execve(2)
            return pid
        os.waitpid(pid, 0)
        error = OSError(int(number), os.strerror(int(number)))
        raise NotExecuted(program[0], error) from error

    def _become(
        self, program: Sequence[str], environ: Environ, parent: int, report: int
    ) -> NoReturn:
        """Run the program in this new process, or report the error's number and exit."""
        try:
            self._prctl(process.PR_SET_PDEATHSIG, Signals.SIGKILL)
            if os.getppid() == parent:
                for number in IGNORED_BY_PYTHON:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
                os.execvpe(program[0], list(program), environ)  # noqa: S606  # as intended
        except OSError as error:
            os.write(report, str(error.errno).encode())
        finally:
            os._exit(Exit.NOT_EXECUTABLE)

    def wait(self, timeout: float | None) -> Caught | None:
        """Return the next signal, or None if there is none within `timeout` seconds."""
        if timeout is None:
            info: signal.struct_siginfo | None = signal.sigwaitinfo(CAUGHT)
        else:
            info = signal.sigtimedwait(CAUGHT, max(0.0, timeout))
        if info is None:
            return None
        return Caught(info.si_signo, from_kernel=info.si_code > 0)

    def wake_up(self) -> None:
        """Make `wait` return in the thread that entered the context."""
        signal.pthread_kill(self._thread, WAKE_UP)

    def kill(self, pid: int, number: int) -> None:
        """Send a signal to a child; do nothing if this user may not signal it."""
        with suppress(PermissionError):
            os.kill(pid, number)

    def kill_all(self, number: int) -> None:
        """Send a signal to every descendant that this user may signal."""
        for pid in descendants(os.getpid()):
            with suppress(PermissionError, ProcessLookupError):
                os.kill(pid, number)

    def any_left(self) -> bool:
        """Return whether there are still descendants. Those that have ended are reaped."""
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
            return True
        return False

    def reap(self, pid: int) -> int | None:
        """Return the child's exit status if it has ended, 128 + N if signal N ended it.

        Reaps orphans as well. If the child has been stopped from the terminal, this process stops
        itself, and returns when it is continued.
        """
        status = None
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG | os.WUNTRACED)) != (0, 0):
                if ended[0] != pid:
                    continue
                if os.WIFSTOPPED(ended[1]):
                    self._stop(os.WSTOPSIG(ended[1]))
                else:
                    code = os.waitstatus_to_exitcode(ended[1])
                    status = code if code >= 0 else 128 - code  # as in a shell
        return status

    def _stop(self, number: int) -> None:
        """Stop this process as the signal has stopped the program, if it is one of job control."""
        if number in JOB_CONTROL:
            signal.sigtimedwait({number}, 0)  # the terminal's, which this process got as well
            os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
            signal.pthread_sigmask(signal.SIG_BLOCK, {number})


def descendants(ancestor: int) -> list[int]:
    """Return the ids of all processes below one, parents first, as far as /proc shows them."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found = [ancestor]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found[1:]


def _parents() -> Iterator[tuple[int, int]]:
    """Yield each process' id and its parent's: proc_pid_stat(5)."""
    with suppress(OSError):
        for directory in Path("/proc").iterdir():
            with suppress(OSError):
                if directory.name.isdecimal():
                    # Its name, in parentheses, may itself contain any character.
                    stat = (directory / "stat").read_bytes().rpartition(b")")[2].split()
                    yield int(directory.name), int(stat[1])
