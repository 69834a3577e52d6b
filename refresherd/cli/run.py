"""`refresherd run`: the daemon, in the foreground."""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from refresherd.cli.errors import print_redacted
from refresherd.cli.options import add_config

DESCRIPTION = """\
The daemon logs in to DSM for every configured app, renews each token well
before it expires, and hands it out through files, sockets and the API."""

EPILOG = """\
example:
  refresherd run --config /etc/refresherd/config.toml

signals:
  HUP       reload the configuration; a faulty one is ignored
  USR1      refresh every app now
  TERM, INT stop; a second one stops at once

exit status:
  0   stopped by a signal
  69  cannot start, for example because its socket or address is in use
  78  the configuration has faults"""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `run`."""
    add_config(parser)


def execute(arguments: Namespace) -> None:
    """Run the daemon until a signal stops it."""
    sys.excepthook = print_redacted
    from refresherd.config import load
    from refresherd.daemon import daemon

    daemon.run(load(Path(arguments.config), os.environ), os.environ)
