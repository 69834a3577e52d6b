"""`refresherd token`: print an app's current token."""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline
from refresherd.cli.errors import Unavailable
from refresherd.cli.options import add_app, add_socket, add_timeout, choice, duration_or_zero

DESCRIPTION = """\
Asks the running daemon, so a script needs no API key. A token that is about to
expire is refreshed first; while DSM is unreachable you get the one that is
still valid."""

EPILOG = """\
examples:
  TOKEN=$(refresherd token payments)
  refresherd token payments --format header | curl -H @- https://...
  refresherd token payments --min-ttl 5m     # for a job that takes five minutes

A raw token is printed without a newline.

exit status:
  0   printed
  64  there is no such app
  69  no daemon, no valid token, or none that lives as long as --min-ttl
  75  no answer in time
  77  you may not read this app's token"""

FORMATS = ("raw", "header", "json", "env", "sdkms-cli")

USUAL_TTL = 30.0
"""Seconds that a token should live if no --min-ttl is given: enough to make a request with it."""

USUAL_WAIT = 1.0
"""Seconds to wait for such a token before settling for any valid one."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `token`."""
    add_app(parser)
    parser.add_argument(
        "--min-ttl",
        metavar="TIME",
        type=duration_or_zero,
        help="only a token that lives at least this long, refreshed now if necessary "
        "(default: at least 30s if one can be had at once; otherwise any valid token)",
    )
    parser.add_argument(
        "--format",
        metavar=f"{{{','.join(FORMATS)}}}",
        type=choice(*FORMATS),
        default="raw",
        help="what to print (default: raw)",
    )
    add_timeout(parser, 10.0)
    add_socket(parser)


def execute(arguments: Namespace) -> None:
    """Print the token, byte for byte in the daemon's format."""
    deadline = Deadline(arguments.timeout)
    fetch = partial(Daemon(arguments.socket).token, arguments.app, arguments.format, deadline)
    if arguments.min_ttl is not None:
        token = fetch(min_ttl=arguments.min_ttl)
    else:
        try:
            token = fetch(min_ttl=USUAL_TTL, wait=USUAL_WAIT)
        except Unavailable:
            token = fetch(min_ttl=0.0)
    sys.stdout.buffer.write(token)
    sys.stdout.flush()
    if not token.endswith(b"\n") and sys.stdout.isatty() and sys.stderr.isatty():
        # Start the prompt on a new line; standard output stays exact.
        print(file=sys.stderr)
