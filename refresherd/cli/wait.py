"""`refresherd wait`: returns when apps are ready."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.failures import PASSING, NotPermitted
from refresherd.cli.client.statuses import Status, read
from refresherd.cli.exits import Exit

PERIOD = 0.2
"""Seconds from one look to the next."""

AT_LEAST = 0.2
"""Seconds that the daemon gets for an answer, however soon the time is up."""


def execute(
    arguments: argparse.Namespace,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Exit:
    """Wait until the apps are ready, and for the daemon itself as well."""
    deadline = now() + arguments.timeout
    wanted = Wanted(Daemon(arguments.socket), arguments.apps, arguments.min_ttl)
    while missing := wanted.missing(max(AT_LEAST, deadline - now())):
        left = deadline - now()
        if left <= 0:
            print("\n".join(f"refresherd wait: {why}" for why in missing), file=sys.stderr)
            return Exit.TIMED_OUT
        sleep(min(PERIOD, left))
    return Exit.OK


class Wanted:
    """The apps that are waited for, all of them if none are named; `min_ttl` in seconds."""

    def __init__(self, daemon: Daemon, names: Sequence[str], min_ttl: float) -> None:
        self._daemon = daemon
        self._names = names
        self._min_ttl = min_ttl
        self._asked: set[str] = set()
        self._locked = False

    def missing(self, timeout: float) -> list[str]:
        """Return a line for each app that is not ready, or for the daemon if it is not there."""
        try:
            statuses = self._statuses(timeout)
        except PASSING as error:
            return [str(error)]
        except NotPermitted as error:
            # A daemon that starts opens its socket to others a moment after it has made it.
            if self._locked:
                raise
            self._locked = True
            return [str(error)]
        return [why for status in statuses if (why := self._shortcoming(status))]

    def _statuses(self, timeout: float) -> Iterable[Status]:
        if not self._names:
            return read(self._daemon.statuses(timeout))
        answers = [self._daemon.status(name, timeout) for name in self._names]
        return [status for answer in answers for status in read(answer)]

    def _shortcoming(self, status: Status) -> str:
        if not status.ready:
            return f"{status.name}: {'; '.join(status.reasons)}"
        left = status.left(time.time())
        if left >= self._min_ttl:
            return ""
        self._hasten(status.name)
        wanted = f"{self._min_ttl:g} s are wanted"
        return f"{status.name}: its token lives for another {left:.0f} s, and {wanted}"

    def _hasten(self, app: str) -> None:
        """Have an app refreshed, once: tokens may never live for as long as is wanted."""
        if app in self._asked:
            return
        with suppress(*PASSING):
            self._daemon.refresh(app, 0.0)
            self._asked.add(app)
