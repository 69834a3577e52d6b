"""Runs the command that a command line names, and turns its errors into a line and a status.

Only the module of that command is imported: all of them would take longer than its work does.
"""

import os
import re
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from refresherd.cli.errors import CommandError, Exit
from refresherd.cli.options import nearest
from refresherd.cli.streams import discard, prepare_streams, use_utf8
from refresherd.domain.errors import ConfigError, RefresherdError

COMMANDS = {
    "run": "run the daemon in the foreground",
    "check": "validate a configuration without contacting anyone",
    "once": "get each app's token once, write its files and exit",
    "token": "print an app's current token",
    "status": "show which apps are in trouble, why, since when, and what to do",
    "wait": "wait until apps are ready",
    "refresh": "refresh apps now, and show the result",
    "watch": "print a line of JSON for each new token until interrupted",
    "exec": "run a program with the token in its environment",
    "schema": "print the configuration's JSON Schema, for editors",
    "emulator": "run a DSM to develop and test against",
    "demo": "watch the daemon keep tokens of an emulated DSM; no account needed",
    "help": "explain a command",
    "version": "print the version",
}
"""The commands and their lines in the overview. Each is the module of its name, which defines

- DESCRIPTION, what it is for, and EPILOG, examples and exit statuses;
- `execute(arguments)`, which returns the exit status, or None for 0;
- `add_options(parser)`, if it has options;
- `parse(parser, words)`, if its words need other treatment than argparse's.

It imports what is slow to import inside `execute`, so that its help appears at once.
"""

NO_NEW_THREAD = "can't start new thread"
"""The text of the RuntimeError that Thread.start() raises under a limit on threads."""

INIT = 1
"""The process id of a container's first process."""

ALIASES = {"--help": "help", "-h": "help", "--version": "version"}
"""Options in the place of a command."""

ARGPARSE = (
    (
        r"^the following arguments are required: APP$",
        "APP is missing; `refresherd status` lists the apps",
    ),
    (r"^the following arguments are required: (.*)", r"\1 is missing"),
    (r"^argument ([^:]*): expected (?:one|at least one) argument$", r"\1 needs a value"),
    (r"^argument ([^:]*): ignored explicit argument .*", r"\1 takes no value"),
    (r"^argument ([^:]*): ", r"\1: "),
)
"""How argparse's errors begin, and what to say instead."""

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
        for pattern, plain in ARGPARSE:
            message = re.sub(pattern, plain, message, flags=re.DOTALL)
        self.exit(Exit.USAGE, f"{self.prog}: {message}\nTry: {self.prog} --help\n")

    def exit_with_help(self) -> NoReturn:
        """Print the help and exit with status 0."""
        self.print_help()
        self.exit()

    def parse_words(self, words: Sequence[str]) -> Namespace:
        """Return the options and arguments. Help and usage errors end the process."""
        arguments, unknown = self.parse_known_intermixed_args(words)
        if unknown:
            self.refuse(unknown[0])
        return arguments

    def refuse(self, word: str) -> NoReturn:
        """End the process because of a word that the command does not know."""
        options = self._option_string_actions
        option, equals, _ = word.partition("=")  # the value may be a secret
        if word.startswith("-"):
            if equals and option in options:
                self.error(f"{option} takes no value")
            meant = nearest(option, options)
            listed = ", ".join(sorted(name for name in options if name.startswith("--")))
            cure = f"did you mean {meant}?" if meant else f"the options are {listed}"
            self.error(f"there is no option {option}; {cure}")
        if "--config" in options:
            self.error(f'unexpected argument "{word}"; write {self.prog} --config {word}')
        names = [str(action.metavar) for action in self._get_positional_actions()]
        taken = f"only {' '.join(names)}" if names else "no arguments"
        self.error(f'unexpected argument "{word}"; {self.prog} takes {taken}')


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
            name = ALIASES.get(words[0], words[0]) if words else ""
            if name not in COMMANDS:
                _refuse(words)
            arguments = parse(name, words[1:])
            return int(load(name).execute(arguments) or Exit.OK)
        finally:
            # Flush here: if Python did it at exit, a failure would be a traceback.
            print(end="", flush=True)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except RefresherdError as error:
        print(f"{' '.join(['refresherd', *words[:1]])}: {error}", file=sys.stderr)
        return error.status if isinstance(error, CommandError) else Exit.UNAVAILABLE
    except RuntimeError as error:
        if str(error) != NO_NEW_THREAD:
            raise
        from refresherd.host.os_errors import NO_THREAD  # rarely needed

        print(f"{' '.join(['refresherd', *words[:1]])}: {NO_THREAD}", file=sys.stderr)
        return Exit.UNAVAILABLE


def _end_on_term() -> None:
    """Make TERM end this process, since process 1 ignores it by default: pid_namespaces(7)."""
    import signal  # rarely needed, and slow to import

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.TERMINATED))


def load(name: str) -> ModuleType:
    """Return the module of a command."""
    return import_module(f"refresherd.cli.{name}")


def parse(name: str, words: Sequence[str]) -> Namespace:
    """Return the options of a command. Help and usage errors end the process."""
    parse_words = getattr(load(name), "parse", Parser.parse_words)
    arguments: Namespace = parse_words(parser_of(name), words)
    return arguments


def parser_of(name: str) -> Parser:
    """Return the parser of a command's words."""
    command = load(name)
    summary = COMMANDS[name]
    description = f"{summary[0].upper()}{summary[1:]}.\n\n{command.DESCRIPTION}"
    parser = Parser(f"refresherd {name}", description, command.EPILOG)
    if hasattr(command, "add_options"):
        command.add_options(parser)
    return parser


def overview() -> Parser:
    """Return the parser of command lines that name no command."""
    summaries = "\n".join(f"  {name:<10}{summary}" for name, summary in COMMANDS.items())
    parser = Parser("refresherd", f"{DESCRIPTION}\n\ncommands:\n{summaries}", EPILOG)
    parser.usage = "refresherd COMMAND [OPTION...]"
    return parser


def no_such_command(word: str) -> str:
    """Return the error for a word that is no command."""
    if "/" in word or word.endswith(".toml"):
        return f'there is no command "{word}"; write refresherd run --config {word}'
    meant = nearest(word, COMMANDS)
    hint = f'; did you mean "{meant}"?' if meant else ""
    return f'there is no command "{word}"{hint}'


def _refuse(words: Sequence[str]) -> NoReturn:
    """End the process because its command line names no command."""
    parser = overview()
    if not words:
        parser.error("which command?")
    option = words[0].partition("=")[0]
    if option.startswith("-"):
        parser.error(f"unknown option {option} before the command; a command's options follow it")
    parser.error(no_such_command(words[0]))
