"""`refresherd wait`: return when apps are ready."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline
from refresherd.cli.client.messages import REJECTED, Status, read_status, read_statuses
from refresherd.cli.errors import TRANSIENT, Exit, NotPermitted
from refresherd.cli.options import add_app, add_min_ttl, add_socket, add_timeout
from refresherd.domain.durations import in_seconds

DESCRIPTION = """\
An app is ready when it has a valid token, each of its files holds that token,
and it is not about to expire without being replaced. The daemon need not be
running yet: `wait` waits for it too, so a service and the daemon may be
started in any order."""

EPILOG = """\
example:
  refresherd wait payments --timeout 30s

in a systemd unit:
  ExecStartPre=refresherd wait payments

exit status:
  0   all are ready
  64  there is no such app
  75  not ready in time; prints which app is not, and why (at once if DSM
      refused its credential)
  77  you may not connect to the daemon's socket, or not refresh an app"""

PERIOD = 0.2
"""Seconds between checks."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `wait`."""
    add_app(parser, "*", "the apps to wait for (default: all)")
    add_timeout(parser, 60.0)
    add_min_ttl(parser, "until their tokens live at least this long, refreshed now if necessary")
    add_socket(parser)


def execute(arguments: Namespace, sleep: Callable[[float], None] = time.sleep) -> Exit:
    """Wait until the apps are ready, and for the daemon itself as well."""
    deadline = Deadline(arguments.timeout)
    checker = ReadinessChecker(Daemon(arguments.socket), arguments.apps, arguments.min_ttl)
    said: set[str] = set()
    while reasons := checker.not_ready(deadline):
        late = deadline.left <= PERIOD
        for reason in reasons:
            # Only an operator can help a rejected app, so that is reported at once.
            if (late or reason in checker.rejected) and reason not in said:
                said.add(reason)
                print(f"refresherd wait: {reason}", file=sys.stderr, flush=True)
        if late:
            return Exit.TIMED_OUT
        sleep(PERIOD)
    return Exit.OK


class ReadinessChecker:
    """Checks the named apps, or all if there are no names; `min_ttl` in seconds."""

    def __init__(self, daemon: Daemon, names: Sequence[str], min_ttl: float) -> None:
        self._daemon = daemon
        self._names = names
        self._min_ttl = min_ttl
        self._refreshed: set[str] = set()
        self._was_denied = False
        self.rejected: set[str] = set()
        """The reasons of the last check that are refusals of a credential."""

    def not_ready(self, deadline: Deadline) -> list[str]:
        """Return why the apps are not ready: a line for each, or one for an absent daemon."""
        daemon, names = self._daemon, self._names
        self.rejected = set()
        try:
            if names:
                statuses = tuple(read_status(daemon.status(name, deadline)) for name in names)
            else:
                statuses = read_statuses(daemon.status("", deadline))
        except TRANSIENT as error:
            return [str(error)]
        except NotPermitted as error:
            # A starting daemon creates its socket a moment before it opens it to others.
            if self._was_denied:
                raise
            self._was_denied = True
            return [str(error)]
        return [reason for status in statuses if (reason := self._reason(status, deadline))]

    def _reason(self, status: Status, deadline: Deadline) -> str:
        if not status.ready:
            reason = f"{status.name}: {'; '.join(status.reasons)}"
            if status.state == REJECTED:
                self.rejected.add(reason)
            return reason
        left = status.seconds_left(time.time())
        if left >= self._min_ttl:
            return ""
        # Only one refresh: the app's tokens may never live as long as `min_ttl`.
        if status.name not in self._refreshed:
            with suppress(*TRANSIENT):
                self._daemon.refresh(status.name, deadline, wait=0.0)
                self._refreshed.add(status.name)
        wanted = f"--min-ttl asks for {in_seconds(self._min_ttl)}"
        return f"{status.name}: its token lives for another {in_seconds(left)}; {wanted}"
