"""Keeps a program running with the newest token: what each signal and each token leads to."""

from collections.abc import Callable, Mapping, Sequence
from signal import Signals

from refresherd.cli.child.processes import WAKE_UP, Caught, Processes

GRACE = 10.0
"""Seconds from TERM to KILL."""

ENDING = frozenset({Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT})
"""After one of these the program is not restarted, whatever token comes."""

TO_THE_GROUP = frozenset({Signals.SIGINT, Signals.SIGQUIT, Signals.SIGWINCH})
"""A terminal sends these to the program too, to which a second one may mean something else."""

Environ = Mapping[str, str]


class Runner:
    """Runs a program; on each new token restarts it, or sends it the signal `on_refresh`.

    `newest` returns the environment with a new token, or None if there has been none since the
    last call. It is called after each WAKE_UP.
    """

    def __init__(
        self,
        processes: Processes,
        program: Sequence[str],
        on_refresh: Signals | None,
        newest: Callable[[], Environ | None],
    ) -> None:
        self._processes = processes
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
        status = None
        while status is None:
            left = None if self._kill_at is None else self._kill_at - self._processes.now()
            status = self._handle(self._processes.wait(left))
        return status

    def _handle(self, caught: Caught | None) -> int | None:
        """React to a signal, or to the end of the grace (None); return the final exit status."""
        if caught is None:
            self._kill_at = None
            self._processes.kill(self._pid, Signals.SIGKILL)
        elif caught.number is Signals.SIGCHLD:
            return self._child_ended()
        elif caught.number is WAKE_UP:
            return self._token_refreshed()
        else:
            self._forward(caught)
        return None

    def _child_ended(self) -> int | None:
        status = self._processes.reap(self._pid)
        if status is None or self._ending or not self._restarting:
            return status
        self._start()
        return None

    def _start(self) -> None:
        self._restarting = False
        self._kill_at = None
        self._pid = self._processes.start(self._program, self._environ)

    def _token_refreshed(self) -> int | None:
        newest = self._newest()
        if newest is None:
            return None
        self._environ = newest
        if not self._restarting and (status := self._processes.reap(self._pid)) is not None:
            return status  # it had ended by itself before the token came
        if self._on_refresh is not None:
            self._processes.kill(self._pid, self._on_refresh)
        elif not self._restarting and not self._ending:
            self._restarting = True
            self._kill_at = self._processes.now() + GRACE
            self._processes.kill(self._pid, Signals.SIGTERM)
        return None

    def _forward(self, caught: Caught) -> None:
        if caught.number in ENDING:
            self._ending = True
        if not (caught.from_kernel and caught.number in TO_THE_GROUP):
            self._processes.kill(self._pid, caught.number)
