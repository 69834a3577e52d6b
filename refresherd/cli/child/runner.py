"""Runs a program with the newest token in its environment, or becomes that program."""

import os
import signal
from collections import deque
from collections.abc import Sequence
from signal import Signals
from typing import NoReturn

from refresherd.cli.child.processes import (
    IGNORED_BY_PYTHON,
    WAKE_UP,
    Caught,
    Environ,
    NotExecuted,
    Processes,
)

ENDING = frozenset({Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT})
"""After one of these the program is not restarted, even for a new token."""

TO_THE_GROUP = frozenset(
    Signals[f"SIG{name}"] for name in ("INT", "QUIT", "WINCH", "TSTP", "TTIN", "TTOU")
)
"""A terminal sends these to the program itself, which may take a second one for something else."""

GRACE = 10.0
"""Seconds from TERM to KILL."""

KILL_PERIOD = 0.1
"""Seconds between two KILLs for the descendants, which may have started more."""

KILL_TIMEOUT = 1.0
"""Seconds for KILL to take effect. Processes of another user do not get it."""


class Runner:
    """Runs a program; on each new token restarts it, or sends it the signal `on_refresh`.

    Signals go to the program alone, which may handle its own children. Once it has ended, its
    remaining descendants get TERM, and KILL when the grace is over.
    """

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
        """Run the program, with restarts, until it has ended by itself; return its exit status.

        Nothing that it has started is left then.
        """
        self._environ = environ
        while True:
            self._restarting = False
            self._kill_at = None
            self._pid = self._processes.start(self._program, self._environ)
            status = self._wait_for_end()
            self._end_rest()
            if not self._restarting or self._ending:
                return status
            if self._newest:  # it came while the rest was ended
                self._environ = self._newest.pop()

    def _wait_for_end(self) -> int:
        status = None
        while status is None:
            caught = self._next_signal()
            if caught is None:
                self._kill_at = None
                self._processes.kill(self._pid, Signals.SIGKILL)
                self._processes.kill_all(Signals.SIGKILL)
            elif caught.number == WAKE_UP:
                status = self._processes.reap(self._pid)
                if status is None and self._newest:
                    self._use_newest()
            else:
                self._ending = self._ending or caught.number in ENDING
                if not (caught.from_kernel and caught.number in TO_THE_GROUP):
                    self._processes.kill(self._pid, caught.number)
        return status

    def _use_newest(self) -> None:
        self._environ = self._newest.pop()
        if self._on_refresh is not None:
            self._processes.kill(self._pid, self._on_refresh)
        elif not self._restarting and not self._ending:
            self._restarting = True
            self._kill_at = self._processes.now() + GRACE
            self._processes.kill(self._pid, Signals.SIGTERM)

    def _end_rest(self) -> None:
        """End the descendants that the program has left behind."""
        if not self._processes.any_left():
            return
        self._processes.kill_all(Signals.SIGTERM)
        if self._kill_at is None:
            self._kill_at = self._processes.now() + GRACE
        give_up_at = self._kill_at + KILL_TIMEOUT
        while self._processes.any_left() and self._processes.now() < give_up_at:
            caught = self._next_signal()
            if caught is None:
                self._processes.kill_all(Signals.SIGKILL)
                self._kill_at = self._processes.now() + KILL_PERIOD
            elif caught.number != WAKE_UP:
                self._ending = self._ending or caught.number in ENDING
                self._processes.kill_all(caught.number)

    def _next_signal(self) -> Caught | None:
        """Return the next signal, or None when it is time for KILL."""
        left = None if self._kill_at is None else self._kill_at - self._processes.now()
        return self._processes.wait(left)


def replace_process(program: Sequence[str], environ: Environ) -> NoReturn:
    """Replace this process by the program. Raises NotExecuted."""
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(program[0], list(program), environ)  # noqa: S606  # as intended
    except OSError as error:
        raise NotExecuted(program[0], error) from error
