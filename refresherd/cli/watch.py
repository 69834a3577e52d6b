"""`refresherd watch`: print a line of JSON for each new token, until interrupted."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.token_stream import follow_tokens
from refresherd.cli.options import add_app, add_socket

DESCRIPTION = """\
For programs that want each new token at once. The current token comes first.
When the daemon restarts, the command reconnects and goes on."""

EPILOG = """\
example:
  refresherd watch payments | jq --unbuffered -r .access_token

exit status:
  64   there is no such app
  69   there was no daemon when the command started
  77   you may not read this app's token
  130  interrupted"""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `watch`."""
    add_app(parser)
    add_socket(parser)


def execute(arguments: Namespace, sleep: Callable[[float], None] = time.sleep) -> NoReturn:
    """Print each token as soon as it comes."""
    connect = partial(Daemon(arguments.socket).tokens, arguments.app)
    notify = partial(print, "refresherd watch:", file=sys.stderr)
    lines = follow_tokens(connect, notify, sleep)
    while True:
        sys.stdout.buffer.write(next(lines))
        sys.stdout.flush()
