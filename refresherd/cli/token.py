"""`refresherd token`: prints an app's current token."""

import argparse
import sys

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.exits import Exit


def execute(arguments: argparse.Namespace) -> Exit:
    """Print the token, to the byte as the format has it."""
    token = Daemon(arguments.socket).token(
        arguments.app, arguments.format, min_ttl=arguments.min_ttl, wait=arguments.timeout
    )
    sys.stdout.buffer.write(token)
    sys.stdout.flush()
    if not token.endswith(b"\n") and sys.stdout.isatty() and sys.stderr.isatty():
        # The prompt that follows stands on a line of its own, and the token is still whole.
        print(file=sys.stderr)
    return Exit.OK
