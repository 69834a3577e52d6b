"""Exit statuses, after sysexits.h, and 128 + signal after the shells."""

from enum import IntEnum

SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a program."""


class Exit(IntEnum):
    """What a command's end means to the script that ran it."""

    OK = 0
    BUG = 1
    USAGE = 64
    UNAVAILABLE = 69
    """No daemon, or no valid token."""
    TIMED_OUT = 75
    """Not yet; trying again may help."""
    NOT_PERMITTED = 77
    CONFIG = 78
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
