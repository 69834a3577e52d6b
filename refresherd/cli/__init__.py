"""The command line: runs one command, and turns its errors into a line and an exit status."""

import sys
from collections.abc import Sequence

from refresherd.cli import parser, streams
from refresherd.cli.errors import CommandError, Exit
from refresherd.domain.errors import ConfigError, RefresherdError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, sys.argv by default, and return its exit status.

    An error that an operator can fix is a line on standard error; only a bug shows a traceback.
    """
    streams.prepare()
    words = sys.argv[1:] if argv is None else argv
    try:
        return _report_errors(words)
    except BrokenPipeError:  # the reader has closed its end, as `head` does: not an error
        streams.discard(sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _report_errors(words: Sequence[str]) -> int:
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
        if name not in parser.COMMANDS:
            parser.show_overview(words)
        arguments = parser.parse(name, words[1:])
        return int(parser.load(name).execute(arguments))
    finally:
        # Flush here: if Python did it at exit, a failure would be a traceback.
        print(end="", flush=True)
