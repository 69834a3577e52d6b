"""Keeps a program running with the newest token: what signals and tokens mean for it."""

from collections.abc import Callable, Mapping, Sequence
from signal import Signals
from typing import Protocol

from refresherd.cli.child.processes import KNOCK, Caught

GRACE = 10.0
"""Seconds from TERM to KILL."""

ENDING = frozenset({Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT})
"""A program that was told to end is not started again, whatever token comes."""

TO_THE_GROUP = frozenset({Signals.SIGINT, Signals.SIGQUIT, Signals.SIGWINCH})
"""A terminal sends these to the program as well; a second one may mean something else to it."""

Environ = Mapping[str, str]


class Kernel(Protocol):
    """What running a program takes; processes.Processes says more."""

    def now(self) -> float:
        """Return the time in seconds."""

    def start(self, program: Sequence[str], environ: Environ) -> int:
        """Start a program and return its process id."""

    def wait(self, timeout: float | None) -> Caught | None:
        """Return the next signal, None if none comes in time."""

    def kill(self, pid: int, number: Signals) -> None:
        """Send a signal to a child."""

    def reap(self, pid: int) -> int | None:
        """Return the child's exit status if it has ended."""


class Runner:
    """Runs a program; on each new token it is started anew, or sent the signal `on_refresh`.

    `newest` returns the environment with a new token, None if there is none since the last
    call; a KNOCK tells that there may be.
    """

    def __init__(
        self,
        kernel: Kernel,
        program: Sequence[str],
        on_refresh: Signals | None,
        newest: Callable[[], Environ | None],
    ) -> None:
        self._kernel = kernel
        self._program = program
        self._on_refresh = on_refresh
        self._newest = newest
        self._pid = 0
        self._environ: Environ = {}
        self._restarting = False
        self._ending = False
        self._kill_at: float | None = None

    def run(self, environ: Environ) -> int:
        """Start the program and return its exit status once it has ended by itself."""
        self._environ = environ
        self._start()
        while True:
            status = self._after(self._kernel.wait(self._patience()))
            if status is not None:
                return status

    def _patience(self) -> float | None:
        return None if self._kill_at is None else self._kill_at - self._kernel.now()

    def _after(self, caught: Caught | None) -> int | None:
        """Do what a signal calls for, None for the end of a grace; return the exit status."""
        if caught is None:
            self._kill_at = None
            self._kernel.kill(self._pid, Signals.SIGKILL)
        elif caught.number is Signals.SIGCHLD:
            return self._ended()
        elif caught.number is KNOCK:
            return self._refreshed()
        else:
            self._forward(caught)
        return None

    def _ended(self) -> int | None:
        status = self._kernel.reap(self._pid)
        if status is None or self._ending or not self._restarting:
            return status
        self._start()
        return None

    def _start(self) -> None:
        self._restarting = False
        self._kill_at = None
        self._pid = self._kernel.start(self._program, self._environ)

    def _refreshed(self) -> int | None:
        newest = self._newest()
        if newest is None:
            return None
        self._environ = newest
        if not self._restarting and (status := self._kernel.reap(self._pid)) is not None:
            return status  # it had ended by itself, before the token came
        if self._on_refresh is not None:
            self._kernel.kill(self._pid, self._on_refresh)
        elif not self._restarting and not self._ending:
            self._restarting = True
            self._kill_at = self._kernel.now() + GRACE
            self._kernel.kill(self._pid, Signals.SIGTERM)
        return None

    def _forward(self, caught: Caught) -> None:
        if caught.number in ENDING:
            self._ending = True
        if not (caught.from_kernel and caught.number in TO_THE_GROUP):
            self._kernel.kill(self._pid, caught.number)
