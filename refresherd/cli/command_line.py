"""Runs the command that a command line names, and turns its errors into a line and a status.

Only the module of that command is imported: all of them would take longer than its work does.
"""

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from refresherd import __version__
from refresherd.cli.errors import CommandError, Exit
from refresherd.cli.streams import discard, prepare_streams, use_utf8
from refresherd.domain.errors import ConfigError, RefresherdError

COMMANDS = {
    "run": "run the daemon in the foreground",
    "check": "validate a configuration without contacting anyone",
    "once": "get each app's token once, write its files and exit",
    "token": "print an app's current token",
    "status": "show each app's state, expiry, next refresh and last error",
    "wait": "wait until apps are ready",
    "refresh": "refresh apps now, and show the result",
    "watch": "print a line of JSON for each new token until interrupted",
    "exec": "run a program with the token in its environment",
    "schema": "print the configuration's JSON Schema, for editors",
    "emulator": "run a DSM to develop and test against",
    "demo": "watch the daemon keep tokens of an emulated DSM; no account needed",
}
"""The commands and their lines in the overview. Each is the module of its name, which defines

- DESCRIPTION, what it is for, and EPILOG, examples and exit statuses;
- `execute(arguments)`, which returns the exit status, or None for 0;
- `add_options(parser)`, if it has options;
- `parse(parser, words)`, if its words need other treatment than argparse's.

It imports what is slow to import inside `execute`, so that its help appears at once.
"""

INIT = 1
"""The process id of a container's first process."""

WIDTH = 80
"""Columns of the help: argparse would take 3 ms to ask the terminal, each time a command runs."""

DESCRIPTION = """\
refresherd keeps a live session for every configured Fortanix DSM app, and
gives its token to services on the same host."""

EPILOG = """\
examples:
  refresherd demo                        try it without an account
  refresherd check --config config.toml  check a configuration
  refresherd run --config config.toml    run the daemon
  refresherd token payments              print a token of the running daemon

exit status:
  0   done
  1   a bug in refresherd
  64  wrong usage
  69  not available: no daemon, or no valid token
  75  timed out; try again
  77  not permitted, or DSM refused the credential
  78  the configuration has faults

`refresherd COMMAND --help` explains a command."""


class Parser(ArgumentParser):
    """An ArgumentParser whose help keeps its line breaks, and whose errors are short."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=partial(RawDescriptionHelpFormatter, width=WIDTH),
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Print the error and how to get help, and exit with status 64."""
        self.exit(Exit.USAGE, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, sys.argv by default, and return its exit status.

    An error that an operator can fix is a line on standard error; only a bug shows a traceback.
    """
    if argv is None:
        use_utf8()
    if os.getpid() == INIT:
        _end_on_term()
    prepare_streams()
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # the reader has closed its end, as `head` does: not an error
        discard(sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _run(words: Sequence[str]) -> int:
    try:
        try:
            if not words or words[0] not in COMMANDS:
                _show_overview(words)
            arguments = parse(words[0], words[1:])
            return int(load(words[0]).execute(arguments) or Exit.OK)
        finally:
            # Flush here: if Python did it at exit, a failure would be a traceback.
            print(end="", flush=True)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except RefresherdError as error:
        print(f"{' '.join(['refresherd', *words[:1]])}: {error}", file=sys.stderr)
        return error.status if isinstance(error, CommandError) else Exit.UNAVAILABLE


def _end_on_term() -> None:
    """Have TERM end this process, as it ends any but process 1: pid_namespaces(7)."""
    import signal  # rarely needed, and slow to import

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.TERMINATED))


def load(name: str) -> ModuleType:
    """Return the module of a command."""
    return import_module(f"refresherd.cli.{name}")


def parse(name: str, words: Sequence[str]) -> Namespace:
    """Return the options of a command. Help and usage errors end the process."""
    command = load(name)
    summary = COMMANDS[name]
    description = f"{summary[0].upper()}{summary[1:]}.\n\n{command.DESCRIPTION}"
    parser = Parser(f"refresherd {name}", description, command.EPILOG)
    if hasattr(command, "add_options"):
        command.add_options(parser)
    parse_words = getattr(command, "parse", Parser.parse_intermixed_args)
    arguments: Namespace = parse_words(parser, words)
    return arguments


def _show_overview(words: Sequence[str]) -> NoReturn:
    """Handle a command line that names no command: print help, version or an error, and exit."""
    from difflib import get_close_matches  # no command that runs needs it

    summaries = "\n".join(f"  {name:<10}{summary}" for name, summary in COMMANDS.items())
    parser = Parser("refresherd", f"{DESCRIPTION}\n\ncommands:\n{summaries}", EPILOG)
    parser.usage = "refresherd COMMAND [OPTION...]"
    parser.add_argument("--version", action="version", version=f"refresherd {__version__}")
    if not words:
        parser.error("which command?")
    word = words[0]
    if word.startswith("-"):
        parser.parse_known_args([word])
        parser.error(f"unknown option {word} before the command; a command's options follow it")
    nearest = get_close_matches(word, COMMANDS, n=1)
    hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
    parser.error(f'there is no command "{word}"{hint}')
