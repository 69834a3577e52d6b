"""Programs run as shells do: with the usual signals, and a status for those that won't run."""

import signal
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from refresherd.cli.client.failures import NotStarted
from refresherd.cli.exits import Exit

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""A program would inherit that; `yes | head` under one that ignores PIPE complains."""

Replace = Callable[[str, list[str], Mapping[str, str]], NoReturn]


def become(program: Sequence[str], environ: Mapping[str, str], replace: Replace) -> NoReturn:
    """Put the program in the place of this process. Raises NotStarted."""
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        replace(program[0], list(program), environ)
    except OSError as error:
        raise not_started(program[0], error) from error


def not_started(program: str, error: OSError) -> NotStarted:
    """Return the error for a program that could not be run, with env(1)'s status for it."""
    if isinstance(error, FileNotFoundError):
        return NotStarted(f"{program}: there is no such program", Exit.NOT_FOUND)
    return NotStarted(f"{program}: {error.strerror}", Exit.NOT_EXECUTABLE)
