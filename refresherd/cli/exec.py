"""`refresherd exec`: runs a program with the token in its environment."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from signal import Signals
from threading import Thread

from refresherd.cli.child.environments import Variables, current, renewed
from refresherd.cli.child.processes import Processes
from refresherd.cli.child.program import Replace, become
from refresherd.cli.child.runner import Runner
from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.failures import CommandError
from refresherd.cli.client.following import follow

WAIT = 10.0
"""Seconds that the daemon may take for a token that it has just told of."""


def execute(arguments: argparse.Namespace, replace: Replace = os.execvpe) -> int:
    """Become the program; or keep it, where new tokens are to mean something for it."""
    daemon = Daemon(arguments.socket)
    known = current(daemon, arguments.app, arguments.min_ttl, arguments.timeout)
    if arguments.on_refresh is None:
        become(arguments.program, {**os.environ, **known}, replace)
    with Processes() as processes:
        mailbox = Mailbox(processes)
        # Begun with the signals held back, so that they come to this thread. A daemon, so that
        # the program's end is the end.
        tokens = renewals(daemon, arguments.app, known)
        Thread(target=mailbox.fill, args=(tokens,), daemon=True).start()
        on_refresh = arguments.on_refresh if isinstance(arguments.on_refresh, Signals) else None
        runner = Runner(processes, arguments.program, on_refresh, mailbox.newest)
        return runner.run({**os.environ, **known})


class Mailbox:
    """Brings new tokens' environments from the thread that follows them to the one that waits."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._new: SimpleQueue[Variables] = SimpleQueue()

    def fill(self, tokens: Iterator[Variables]) -> None:
        """Put in each new token's variables, and knock."""
        try:
            while True:
                self._new.put(next(tokens))
                self._processes.knock()
        except CommandError as error:
            _notice(f"{error}; the program goes on with the token that it has")

    def newest(self) -> Mapping[str, str] | None:
        """Return the environment with the newest token, None if there is none that is new."""
        newest = None
        try:
            while True:
                newest = self._new.get_nowait()
        except Empty:
            return None if newest is None else {**os.environ, **newest}


def renewals(daemon: Daemon, app: str, known: Variables) -> Iterator[Variables]:
    """Yield the variables of the tokens that follow the one known, by the real clock."""
    lines = follow(partial(daemon.tokens, app), _notice, time.sleep)
    return renewed(lines, partial(current, daemon, app, 0.0, WAIT), known, time.sleep)


def _notice(message: str) -> None:
    print(f"refresherd exec: {message}", file=sys.stderr)
