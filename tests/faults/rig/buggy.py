"""Runs the real daemon with a planted bug; the failing code holds a token.

Usage: python buggy.py PLACE ARGUMENT…, where the arguments are those of `refresherd`.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import NoReturn

from refresherd.adapters.outputs.files import FileOutput
from refresherd.adapters.scheduling import BootSchedule
from refresherd.cli import main
from refresherd.domain.model import Instant, Token

HELD: list[str] = []
TASKS: set["asyncio.Task[NoReturn]"] = set()


async def put(_: FileOutput, token: Token) -> None:
    """Fail with the token among the local variables and in the error."""
    header = f"Authorization: Bearer {token.access_token.reveal()}"
    HELD.append(header)
    asyncio.get_running_loop().call_soon(broken, header)
    TASKS.add(asyncio.create_task(lost(header)))
    TASKS.clear()
    raise LookupError(header, token)


async def lost(header: str) -> NoReturn:
    """Fail in a task that nobody awaits."""
    raise ValueError(header)


def broken(header: str) -> NoReturn:
    """Fail in a callback of the event loop."""
    raise KeyError(header)


def overdue(_schedule: BootSchedule, _now: Instant) -> float:
    """Fail in a part without which the daemon cannot go on."""
    if HELD:
        raise LookupError(HELD)
    return 0.0


def in_output() -> None:
    """Break an output: the bug affects one app."""
    setattr(FileOutput, "put", put)  # noqa: B010  # that is the bug, and no type allows it


def in_daemon() -> None:
    """Break the schedule as well: the process ends."""
    in_output()
    setattr(BootSchedule, "overdue", overdue)  # noqa: B010  # as above


BUGS: dict[str, Callable[[], None]] = {"output": in_output, "daemon": in_daemon}

if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
