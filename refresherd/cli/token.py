"""`refresherd token`: prints an app's current token."""

import argparse
import sys

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.failures import NotNow
from refresherd.cli.exits import Exit

USUAL_TTL = 30.0
"""Seconds that a token should live if nobody says otherwise: enough to make a request with it."""

AT_ONCE = 1.0
"""Seconds that such a one is worth, where there is one that lives for less."""


def execute(arguments: argparse.Namespace) -> Exit:
    """Print the token, to the byte as the format has it."""
    token = _token(arguments)
    sys.stdout.buffer.write(token)
    sys.stdout.flush()
    if not token.endswith(b"\n") and sys.stdout.isatty() and sys.stderr.isatty():
        # The prompt that follows stands on a line of its own, and the token is still whole.
        print(file=sys.stderr)
    return Exit.OK


def _token(arguments: argparse.Namespace) -> bytes:
    daemon, app, form = Daemon(arguments.socket), arguments.app, arguments.format
    if arguments.min_ttl is not None:
        return daemon.token(app, form, min_ttl=arguments.min_ttl, wait=arguments.timeout)
    try:
        return daemon.token(app, form, min_ttl=USUAL_TTL, wait=min(AT_ONCE, arguments.timeout))
    except NotNow:
        return daemon.token(app, form, min_ttl=0.0, wait=arguments.timeout)
