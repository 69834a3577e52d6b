"""What a command line without a command gets: the overview, the version, or the nearest command."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from refresherd import __version__
from refresherd.cli.commands import COMMANDS
from refresherd.cli.parser import Formatter, Parser

DESCRIPTION = """\
Keeps a live session for every configured Fortanix DSM app and hands its token
to the services beside it."""

EPILOG = """\
try it without an account:   refresherd demo
check a configuration:       refresherd check --config config.toml
run the daemon:              refresherd run --config config.toml
use a token:                 refresherd token payments

exit status: 0 done, 1 a bug, 64 usage, 69 not available, 75 timed out (try again),
77 not permitted, 78 configuration"""


def show(words: Sequence[str]) -> NoReturn:
    """Print what the words ask for, and exit; what they ask for wrongly is a usage fault."""
    parser = _parser()
    if not words:
        parser.error("which command?")
    word = words[0]
    if word.startswith("-"):
        parser.parse_known_args([word])
        parser.error(f"{word} is no option here; the command comes first, its options after it")
    nearest = get_close_matches(word, COMMANDS, n=1)
    hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
    parser.error(f'there is no command "{word}"{hint}')


def _parser() -> Parser:
    parser = Parser(
        prog="refresherd",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"refresherd {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.summary)
    return parser
