"""What did the operator ask? One module a command, imported only when it is the one asked for."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from refresherd.cli.client.failures import CommandError
from refresherd.cli.commands import COMMANDS
from refresherd.cli.exits import Exit
from refresherd.cli.parser import parse
from refresherd.errors import ConfigError, RefresherdError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    What an operator can mend is told in lines on standard error; only a bug shows a traceback.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        status = _run(words)
        print(end="", flush=True)
    except BrokenPipeError:
        # Whoever read our output had enough; Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    return status


def _run(words: Sequence[str]) -> int:
    name = words[0] if words else ""
    if name not in COMMANDS:
        import_module("refresherd.cli.overview").show(words)
    arguments = parse(name, words[1:])
    try:
        return int(import_module(f"refresherd.cli.{name}").execute(arguments))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except CommandError as error:
        print(f"refresherd {name}: {error}", file=sys.stderr)
        return error.status
    except RefresherdError as error:
        print(f"refresherd {name}: {error}", file=sys.stderr)
        return Exit.UNAVAILABLE
