"""`refresherd run`: the daemon, in the foreground."""

import argparse
import os
import signal
import sys
from pathlib import Path

from refresherd.cli import bug
from refresherd.cli.exits import Exit


def execute(arguments: argparse.Namespace) -> Exit:
    """Run the daemon until a signal stops it."""
    sys.excepthook = bug.message
    # They wait until the daemon heeds them: by themselves they would end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP, signal.SIGUSR1))
    # Only now, for these take a third of a second.
    from refresherd.config import load  # noqa: PLC0415  # as above
    from refresherd.daemon import daemon  # noqa: PLC0415  # as above

    daemon.run(load(Path(arguments.config), os.environ), os.environ)
    return Exit.OK
