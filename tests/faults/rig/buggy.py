"""Runs the real daemon with a bug in it, and a token in the hands of whatever breaks.

Usage: python buggy.py PLACE ARGUMENT…, where the arguments are those of `refresherd`.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import NoReturn

from refresherd.adapters.outputs.file import FileOutput
from refresherd.adapters.scheduling import BootSchedule
from refresherd.cli import main
from refresherd.domain.model import Token

HELD: list[str] = []
TASKS: set["asyncio.Task[NoReturn]"] = set()


async def put(_: FileOutput, token: Token) -> None:
    """Be an output that fails with the token among its variables and in its error."""
    header = f"Authorization: Bearer {token.access_token.reveal()}"
    HELD.append(header)
    asyncio.get_running_loop().call_soon(broken, header)
    TASKS.add(asyncio.create_task(lost(header)))
    TASKS.clear()
    raise LookupError(header, token)


async def lost(header: str) -> NoReturn:
    """Be a task that nobody waits for."""
    raise ValueError(header)


def broken(header: str) -> NoReturn:
    """Be a callback of the loop's."""
    raise KeyError(header)


def check(_: BootSchedule) -> None:
    """Be a part of the daemon without which it can't go on."""
    if HELD:
        raise LookupError(HELD)


def in_output() -> None:
    """Break an output: one app's bug is its own."""
    setattr(FileOutput, "put", put)  # noqa: B010  # that is the bug, and no type allows it


def in_daemon() -> None:
    """Break the timeline as well: the process ends."""
    in_output()
    setattr(BootSchedule, "_check", check)  # noqa: B010  # as above


BUGS: dict[str, Callable[[], None]] = {"output": in_output, "daemon": in_daemon}

if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
