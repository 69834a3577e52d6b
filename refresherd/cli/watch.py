"""`refresherd watch`: print a line of JSON for each new token, until interrupted."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline
from refresherd.cli.client.messages import VALID, read_status
from refresherd.cli.client.token_stream import follow_tokens, seconds_left
from refresherd.cli.errors import CommandError
from refresherd.cli.options import add_app, add_socket

DESCRIPTION = """\
For programs that want each new token at once. The current token comes first.
When the daemon restarts, the command reconnects and goes on. While there is no
valid token, it says why on standard error, and waits."""

EPILOG = """\
example:
  refresherd watch payments | jq --unbuffered -r .access_token

exit status:
  64   there is no such app
  69   there was no daemon when the command started
  75   the daemon did not answer then
  77   you may not read this app's token
  130  interrupted"""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `watch`."""
    add_app(parser)
    add_socket(parser)


STATUS_TIMEOUT = 1.0
"""Seconds for the daemon to say why there is no token."""


def execute(arguments: Namespace, sleep: Callable[[float], None] = time.sleep) -> NoReturn:
    """Print each token as soon as it comes."""
    notify = partial(print, "refresherd watch:", file=sys.stderr, flush=True)
    daemon = Daemon(arguments.socket)
    explainer = Explainer(daemon, arguments.app, notify)
    connect = partial(daemon.tokens, arguments.app, explainer.idle)
    lines = follow_tokens(connect, notify, sleep)
    while True:
        line = next(lines)
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
        explainer.token_came(seconds_left(line))


class Explainer:
    """Prints why there is no valid token, once for each reason."""

    def __init__(self, daemon: Daemon, app: str, notify: Callable[[str], None]) -> None:
        self._daemon = daemon
        self._app = app
        self._notify = notify
        self._expires_at = time.monotonic()
        self._said = ""

    def token_came(self, seconds: float) -> None:
        """Say nothing until a token has expired that is valid for this long."""
        self._expires_at = time.monotonic() + seconds
        self._said = ""

    def idle(self) -> None:
        """Ask the daemon if there should be a new token by now."""
        if time.monotonic() < self._expires_at:
            return
        try:
            status = read_status(self._daemon.status(self._app, Deadline(STATUS_TIMEOUT)))
        except CommandError:
            return
        reason = "" if status.state in VALID else "; ".join(status.reasons)
        if reason not in {"", self._said}:
            self._notify(f"{self._app}: {reason}; waiting for a token")
            self._said = reason
