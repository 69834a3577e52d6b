"""`refresherd demo`: the daemon and an emulated DSM at work, to watch and to try."""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace

from refresherd.cli.errors import Exit, UsageError
from refresherd.cli.options import duration, positive_number

DESCRIPTION = """\
Starts an emulated DSM and the daemon in a temporary directory, shows the
tokens as they are renewed, and prints commands to try in another terminal.
Ctrl-C ends it, and it leaves nothing behind."""

EPILOG = """\
example:
  refresherd demo --apps 5 --lifetime 10 --for 30

exit status:
  0   ended by --for or Ctrl-C
  69  an app never got a token before --for was over, or the daemon ended"""

MIN_LIFETIME = 2.0
"""Seconds. DSM states a token's lifetime in whole seconds, and the daemon needs a moment too."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `demo`."""
    parser.add_argument(
        "--apps", metavar="N", type=positive_number, default=3, help="number of apps (default: 3)"
    )
    parser.add_argument(
        "--lifetime",
        metavar="S",
        type=duration,
        default=20.0,
        help="how long a token lives, in seconds or as 1m (default: 20)",
    )
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="S",
        type=duration,
        help="end after this time (default: run until interrupted)",
    )


def execute(arguments: Namespace) -> Exit:
    """Play until interrupted, or as long as requested, and print a summary."""
    if arguments.lifetime < MIN_LIFETIME:
        raise UsageError("--lifetime must be at least 2 seconds")
    import asyncio

    from rich.console import Console

    from refresherd.demo.play import play
    from refresherd.demo.screen import view_on
    from refresherd.demo.status import summary

    stop = asyncio.Event()

    async def run() -> Exit:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        # The terminal knows its size, and that changes; $COLUMNS may be another's.
        environ = {key: os.environ[key] for key in os.environ.keys() - {"COLUMNS", "LINES"}}
        terminal = sys.stdout.isatty()
        console = Console(
            file=sys.stdout, force_terminal=terminal, highlight=False, _environ=environ
        )
        picture = await play(
            view_on(console), stop, arguments.apps, arguments.lifetime, arguments.duration
        )
        print(f"\n{summary(picture)}")
        failed = picture.without_token and not stop.is_set()
        return Exit.UNAVAILABLE if failed else Exit.OK

    return asyncio.run(run())
