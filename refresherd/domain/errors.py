"""The error tree, drawn by what the caller does about each.

RefresherdError
├── ConfigError           an operator mends the file; all its faults at once
├── OutputError           this output tries again by itself
├── HookError             told and counted; the next token is the next chance
├── NoSuchApp             ask for another one
├── NoToken               ask again later
└── DsmError              an attempt at DSM came to nothing
    ├── Retryable         try again after a backoff
    ├── SessionLost       log in anew, at once and once
    └── Rejected          an operator must act; probed rarely
        └── Withheld      DSM was not even asked
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why an attempt failed: the `reason` label of the metrics and of the logs."""

    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    BAD_RESPONSE = "bad_response"
    MFA_REQUIRED = "mfa_required"
    SESSION_LOST = "session_lost"
    REJECTED = "rejected"
    CREDENTIAL = "credential"
    """The credential could not be read on this host: DSM was never asked."""


class RefresherdError(Exception):
    """Anything that an operator may be told in one line, without a traceback."""


class ConfigError(RefresherdError):
    """The configuration has faults; each line names file, line, key and remedy."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class OutputError(RefresherdError):
    """An output could not be brought to the newest token; its text says why."""


class HookError(RefresherdError):
    """A hook came to nothing; its text says why. `timed_out` where it took too long."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class NoSuchApp(RefresherdError):
    """There is no app of that name, or no longer."""


class NoToken(RefresherdError):
    """There is no such token now; its text says why. `retry_after` in seconds, 1 or more."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DsmError(RefresherdError):
    """An attempt came to nothing. The message never holds a credential or a token.

    `request_id` is DSM's `x-request-id`, where an answer brought one.
    """

    def __init__(self, reason: Reason, message: str, *, request_id: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.request_id = request_id


class Retryable(DsmError):
    """Network trouble, overload or an unreadable answer: it may pass by itself.

    `retry_after` is the wait in seconds that the server asked for, None if it named none.
    `counted` tells whether DSM may count it as a failed login all the same.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        request_id: str = "",
        retry_after: float | None = None,
        counted: bool = False,
    ) -> None:
        super().__init__(reason, message, request_id=request_id)
        self.retry_after = retry_after
        self.counted = counted


class SessionLost(DsmError):
    """DSM does not take the session's token for a renewal.

    `dead` tells whether DSM declared the token itself dead (401), or only would
    not renew it (403), in which case consumers may use it until it expires.
    """

    def __init__(self, message: str, *, request_id: str = "", dead: bool = True) -> None:
        super().__init__(Reason.SESSION_LOST, message, request_id=request_id)
        self.dead = dead


class Rejected(DsmError):
    """DSM refuses the credential, or wants a second factor: retrying burns the credential."""


class LoginSuppressed(Rejected):
    """A login was not sent, since so many with the same credential have failed.

    `until` is the boot time at which one is allowed again; None where DSM has just refused
    the credential to somebody else, so that the wait is that of any refusal.
    """

    def __init__(self, message: str, until: float | None = None) -> None:
        super().__init__(Reason.REJECTED, message)
        self.until = until
