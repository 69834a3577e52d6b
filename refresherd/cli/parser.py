"""One command's line: its words parsed, or refused with a word on where help is."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence

from refresherd.cli.commands import COMMANDS
from refresherd.cli.exits import Exit

TYPE_CHECKING = False
"""As in typing, which takes a third of Python's own start to import."""

if TYPE_CHECKING:
    from typing import NoReturn

SEPARATOR = "--"

PROGRAM = "./report.sh"

WIDTH = 98
"""Columns of the help. Asking the terminal costs argparse 3 ms, for each command that is run."""


class Formatter(RawDescriptionHelpFormatter):
    """Help as it is written here, in a fixed width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=WIDTH)


class Parser(ArgumentParser):
    """An ArgumentParser that ends with sysexits' usage status."""

    def error(self, message: str) -> "NoReturn":
        """Print what is wrong and where help is, and exit with status 64."""
        self.exit(Exit.USAGE, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


def parse(name: str, words: Sequence[str]) -> Namespace:
    """Return the options of a command; help and faults end the process.

    A `program` with its arguments stands after the first `--` and is left as it is.
    """
    command = parser(name)
    if not COMMANDS[name].program:
        return command.parse_intermixed_args(words)
    end = words.index(SEPARATOR) if SEPARATOR in words else len(words)
    arguments, others = command.parse_known_args(words[:end])
    arguments.program = list(words[end + 1 :])
    if others or not any(arguments.program[:1]):
        wrong = f"{others[0]} is no option here" if others else "there is no program to run"
        command.error(f"{wrong}; write the program after --, such as -- {PROGRAM}")
    return arguments


def parser(name: str) -> Parser:
    """Return the parser of one command. The others' would take longer than its work does."""
    command = COMMANDS[name]
    made = Parser(
        prog=f"refresherd {name}",
        usage=f"refresherd {name} [OPTION...] APP -- CMD [ARG...]" if command.program else None,
        description=f"{command.summary[0].upper()}{command.summary[1:]}.",
        epilog=command.epilog,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    command.options(made)
    return made
