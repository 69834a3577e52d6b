"""`refresherd exec`: run a program with the token in its environment."""

import os
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from signal import Signals
from threading import Thread

from refresherd.cli.child.processes import Environ, Processes
from refresherd.cli.child.runner import Runner, replace_process
from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline
from refresherd.cli.client.token_stream import Variables, follow_tokens, new_variables, parse_env
from refresherd.cli.command_line import Parser
from refresherd.cli.errors import CommandError
from refresherd.cli.options import add_app, add_min_ttl, add_socket, add_timeout
from refresherd.host.process import INIT

DESCRIPTION = """\
CMD finds $FORTANIX_API_ENDPOINT, $FORTANIX_ACCESS_TOKEN and
$FORTANIX_TOKEN_EXPIRES_AT in its environment, which does not change while it
runs. If it runs for longer than a token lives, use --on-refresh: either
restart it with each new token, or send it a signal at which it fetches the
token itself."""

EPILOG = """\
examples:
  refresherd exec payments -- ./report.sh
  refresherd exec payments --on-refresh restart -- ./server
  refresherd exec payments --on-refresh HUP -- ./server

To be restarted, CMD is sent TERM, and KILL 10 s later. With --on-refresh, CMD
gets every signal that this command gets, and stops and continues with it.
When CMD has ended, everything that it started is ended before it is restarted
or this command exits: with TERM, and with KILL after the same 10 s.

Process 1 of a container runs CMD as its child, even without --on-refresh, and
reaps orphans.

exit status:
  CMD's own, 128 + N if signal N ended it
  126 if CMD cannot be executed, 127 if it is not found
  before CMD runs, as for `refresherd token`"""

RESTART = "restart"

TOKEN_WAIT = 10.0
"""Seconds that the daemon may take to hand out a token that it has just announced."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `exec`, which stand before its `--`."""
    parser.usage = "refresherd exec [OPTION...] APP -- CMD [ARG...]"
    add_app(parser)
    parser.add_argument(
        "--on-refresh",
        metavar="restart|SIGNAL",
        type=refresh_action,
        help="after each new token, restart CMD with it, or send CMD this signal, such as HUP "
        "(default: neither; CMD replaces this process)",
    )
    add_min_ttl(parser, "start with a token that lives at least this long")
    add_timeout(parser, 60.0)
    add_socket(parser)


def refresh_action(text: str) -> str | Signals:
    """Return `restart` as it is, or the signal that `HUP`, `SIGHUP` or `hup` names."""
    if text == RESTART:
        return text
    name = text.upper()
    number = Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
    if number is None or number in {Signals.SIGKILL, Signals.SIGSTOP}:
        raise ArgumentTypeError(
            f'"{text}" is neither restart nor a signal that can be caught, such as HUP or USR1'
        )
    return number


def parse(parser: Parser, words: Sequence[str]) -> Namespace:
    """Parse the words before the first `--`; the rest, as they are, become `program`."""
    end = words.index("--") if "--" in words else len(words)
    arguments, others = parser.parse_known_args(words[:end])
    arguments.program = list(words[end + 1 :])
    if others and others[0].startswith("-"):
        parser.refuse(others[0])
    if others or not any(arguments.program[:1]):
        cause = f"unknown argument {others[0]}" if others else "there is no program to run"
        parser.error(f"{cause}; write the program after --, such as -- ./report.sh")
    return arguments


def execute(arguments: Namespace) -> int:
    """Become the program, or run it as a child and return its exit status."""
    daemon = Daemon(arguments.socket)
    app, program, action = arguments.app, arguments.program, arguments.on_refresh

    def fetch(min_ttl: float = 0.0, seconds: float = TOKEN_WAIT) -> Variables:
        return parse_env(daemon.token(app, "env", Deadline(seconds), min_ttl=min_ttl))

    variables = fetch(arguments.min_ttl, arguments.timeout)
    environ = {**os.environ, **variables}
    if action is None and os.getpid() != INIT:
        replace_process(program, environ)
    notify = partial(print, "refresherd exec:", file=sys.stderr)
    with Processes() as processes:
        runner = Runner(processes, program, None if action == RESTART else action)
        if action is None:
            return runner.run(environ)
        lines = follow_tokens(partial(daemon.tokens, app), notify, time.sleep)
        tokens = new_variables(lines, fetch, variables, time.sleep)
        # Started here, so that it holds signals back and they come to this thread. A daemon
        # thread, so that the program's end is the command's end.
        Thread(target=offer_tokens, args=(tokens, runner.offer, notify), daemon=True).start()
        return runner.run(environ)


def offer_tokens(
    tokens: Iterable[Variables], offer: Callable[[Environ], None], notify: Callable[[str], None]
) -> None:
    """Offer the environment with each new token until the daemon refuses to hand out another."""
    try:
        for variables in tokens:
            offer({**os.environ, **variables})
    except CommandError as error:
        notify(f"{error}; the program keeps running with its current token")
