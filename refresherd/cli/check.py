"""`refresherd check`: validate a configuration."""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from refresherd.cli.options import add_config

DESCRIPTION = """\
Prints every fault at once, each on its own line of standard error:
  FILE:LINE: key.path: what is wrong; what to write instead
For a valid configuration it prints the apps, their outputs, and how long DSM
may be unreachable (outage budget). It changes nothing; run it before a reload."""

EPILOG = """\
example:
  refresherd check --config config.toml && systemctl reload refresherd

exit status: 0 the configuration is good (maybe with warnings), 78 it has faults"""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `check`."""
    add_config(parser)


def execute(arguments: Namespace) -> None:
    """Print a summary of the configuration; a faulty one raises ConfigError."""
    from refresherd.config import describe, load

    configuration = load(Path(arguments.config), os.environ)
    for warning in configuration.warnings:
        print(warning, file=sys.stderr)
    for line in describe(configuration):
        print(line)
