"""How a command ends: its exit status, and the error whose text explains it in one line."""

import os
import pwd
from enum import IntEnum

from refresherd.domain.errors import RefresherdError


class Exit(IntEnum):
    """Exit statuses from sysexits.h, env(1) and the shells."""

    OK = 0
    BUG = 1
    """Python's own status after an uncaught exception."""
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


class CommandError(RefresherdError):
    """Ends a command: its text goes to standard error as one line."""

    status = Exit.UNAVAILABLE
    """The command's exit status."""


class NoDaemon(CommandError):
    """Nothing answers on the socket; a daemon that is starting soon may."""


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


class BadRequest(CommandError):
    """The daemon has no such app, or rejected another value in the request."""

    status = Exit.USAGE


def current_user() -> str:
    """Return this process's effective user, whom the daemon sees, such as `user joe (uid 1000)`."""
    uid = os.geteuid()
    try:
        return f"user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
