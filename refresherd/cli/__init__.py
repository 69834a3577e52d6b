"""What did the operator ask? One module a command, imported only when it is the one asked for."""

import sys
from collections.abc import Sequence
from importlib import import_module

from refresherd.cli import streams
from refresherd.cli.client.failures import CommandError
from refresherd.cli.commands import COMMANDS
from refresherd.cli.exits import Exit
from refresherd.cli.parser import parse
from refresherd.domain.errors import ConfigError, RefresherdError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    What an operator can mend is told in lines on standard error; only a bug shows a traceback.
    """
    streams.prepare()
    words = sys.argv[1:] if argv is None else argv
    try:
        return _explained(words)
    except BrokenPipeError:  # whoever read our output had enough
        streams.give_up(sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _explained(words: Sequence[str]) -> int:
    try:
        return _run(words)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except RefresherdError as error:
        print(f"{' '.join(['refresherd', *words[:1]])}: {error}", file=sys.stderr)
        return error.status if isinstance(error, CommandError) else Exit.UNAVAILABLE


def _run(words: Sequence[str]) -> int:
    name = words[0] if words else ""
    try:
        if name not in COMMANDS:
            import_module("refresherd.cli.overview").show(words)
        arguments = parse(name, words[1:])
        return int(import_module(f"refresherd.cli.{name}").execute(arguments))
    finally:
        # Not left to Python's end, where its failure is a traceback.
        print(end="", flush=True)
