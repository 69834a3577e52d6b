"""`refresherd check`: validate a configuration."""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from refresherd.cli.errors import Exit
from refresherd.cli.options import add_config

DESCRIPTION = """\
Prints everything that is wrong in the configuration or missing on this host,
each on its own line of standard error:
  FILE:LINE: key.path: what is wrong; what to write instead
  FILE:LINE: warning: key.path: what may not be meant
  FILE:LINE: note: key.path: what only the daemon's unit can show
Then it prints the apps, their outputs, and how long DSM may be unreachable
(outage budget). It changes nothing; run it before a reload or a restart."""

EPILOG = """\
examples:
  refresherd check --config config.toml && systemctl reload refresherd
  refresherd check --offline --config - <config.toml

exit status:
  0   the configuration is good, maybe with warnings and notes
  78  it has faults, or this host lacks something that it names"""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `check`."""
    add_config(parser)
    parser.add_argument(
        "--offline",
        action="store_true",
        help="check syntax and rules only, and look at nothing of this host: for CI",
    )


def execute(arguments: Namespace) -> Exit:
    """Print all findings, and a summary of a configuration without faults."""
    from refresherd.config import describe, load
    from refresherd.domain.errors import ConfigError

    try:
        configuration = load(Path(arguments.config), os.environ, offline=arguments.offline)
    except ConfigError as error:
        for line in (*error.faults, *error.others):
            print(line, file=sys.stderr)
        return Exit.CONFIG
    for line in (*configuration.troubles, *configuration.warnings, *configuration.notes):
        print(line, file=sys.stderr)
    for line in describe(configuration):
        print(line)
    return Exit.CONFIG if configuration.troubles else Exit.OK
