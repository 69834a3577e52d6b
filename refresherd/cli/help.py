"""`refresherd help`: what there is, or how a command is used."""

from argparse import ArgumentParser, Namespace
from typing import NoReturn

from refresherd.cli import command_line

DESCRIPTION = """\
The same as `refresherd COMMAND --help`; without COMMAND, it lists the commands."""

EPILOG = """\
example:
  refresherd help token"""


def add_options(parser: ArgumentParser) -> None:
    """Add the argument of `help`."""
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="a command of refresherd")


def execute(arguments: Namespace) -> NoReturn:
    """Print the help and exit."""
    command = arguments.command
    if command is None:
        command_line.overview().exit_with_help()
    if command not in command_line.COMMANDS:
        command_line.overview().error(command_line.no_such_command(command))
    command_line.parser_of(command).exit_with_help()
