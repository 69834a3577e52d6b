"""`refresherd watch`: a line of JSON for each new token, until interrupted."""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.following import follow


def execute(arguments: argparse.Namespace, sleep: Callable[[float], None] = time.sleep) -> NoReturn:
    """Print the tokens as they come, each at once."""
    tokens = partial(Daemon(arguments.socket).tokens, arguments.app)
    lines = follow(tokens, _notice, sleep)
    while True:
        sys.stdout.buffer.write(next(lines))
        sys.stdout.flush()


def _notice(message: str) -> None:
    print(f"refresherd watch: {message}", file=sys.stderr)
