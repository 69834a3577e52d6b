"""How a command fails: its exit status, and the error that explains it."""

import os
import pwd
import sys
from enum import IntEnum
from types import TracebackType

from refresherd.domain.errors import RefresherdError


class Exit(IntEnum):
    """Exit statuses from sysexits.h, env(1) and the shells."""

    OK = 0
    USAGE = 64
    UNAVAILABLE = 69
    """There is no daemon, or no valid token."""
    TIMED_OUT = 75
    """Not done in time; trying again may help."""
    NOT_PERMITTED = 77
    """This user may not do that, or DSM refused the credential."""
    CONFIG = 78
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
    TERMINATED = 143


class CommandError(RefresherdError):
    """Ends a command: its text goes to standard error as one line."""

    status = Exit.UNAVAILABLE
    """The command's exit status."""


class NoDaemon(CommandError):
    """Nothing answers on the socket; the daemon may still be starting."""


class Unavailable(CommandError):
    """The daemon has no such token at present, or accepts no more connections."""


class InvalidResponse(CommandError):
    """The response is not one that a refresherd of this version sends."""


class TimedOut(CommandError):
    """The response did not arrive in time."""

    status = Exit.TIMED_OUT


TRANSIENT = (NoDaemon, Unavailable, TimedOut)
"""Errors that may pass by themselves."""


class NotPermitted(CommandError):
    """This user may not use the socket, or the app."""

    status = Exit.NOT_PERMITTED


class UsageError(CommandError):
    """There is no such app, or another argument is wrong."""

    status = Exit.USAGE


def current_user() -> str:
    """Return this process's effective user, whom the daemon sees, such as `user joe (uid 1000)`."""
    uid = os.geteuid()
    try:
        return f"user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def print_redacted(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    """Print a bug's traceback without credentials, which may be in any text: a sys.excepthook."""
    import traceback  # slow to import, and rarely used

    from refresherd.domain.redaction import redact  # rarely used, too

    print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
