"""Why a command that asks the daemon ends without what it was to get: a line and an exit status."""

from refresherd.cli.exits import Exit
from refresherd.domain.errors import RefresherdError

UNEXPECTED = (
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What comes of reading JSON that is not what it should be, or none at all."""


class CommandError(RefresherdError):
    """Ends a command: its text is the line on standard error, `status` the exit status."""

    status = Exit.UNAVAILABLE


class NoDaemon(CommandError):
    """Nobody answers on the socket; a daemon that starts may."""


class NotNow(CommandError):
    """The daemon has no such token now, or takes no more connections; it may later."""


class Unintelligible(CommandError):
    """What came back is no answer of a refresherd that this command understands."""


class TimedOut(CommandError):
    """The answer did not come in time."""

    status = Exit.TIMED_OUT


PASSING = (NoDaemon, NotNow, TimedOut)
"""What may be otherwise a moment later."""


class NotPermitted(CommandError):
    """The socket, or the app, is not for whoever asks."""

    status = Exit.NOT_PERMITTED


class BadRequest(CommandError):
    """The daemon takes no such value."""

    status = Exit.USAGE


class UnknownApp(BadRequest):
    """The daemon keeps no app of that name."""


class NotStarted(CommandError):
    """A program could not be run."""

    def __init__(self, message: str, status: Exit) -> None:
        super().__init__(message)
        self.status = status
