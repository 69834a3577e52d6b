"""`refresherd check`: validates a configuration without contacting anyone."""

import argparse
import os
import sys
from pathlib import Path

from refresherd.cli.exits import Exit
from refresherd.config import describe, load


def execute(arguments: argparse.Namespace) -> Exit:
    """Print what a good configuration amounts to; a faulty one raises ConfigError."""
    configuration = load(Path(arguments.config), os.environ)
    for warning in configuration.warnings:
        print(warning, file=sys.stderr)
    for line in describe(configuration):
        print(line)
    return Exit.OK
