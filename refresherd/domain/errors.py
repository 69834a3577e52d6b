"""The errors, by what the caller does about each.

RefresherdError
├── ConfigError              an operator repairs the file; it holds all faults at once
├── OutputError              the output tries again by itself
├── HookError                logged and counted; the hook runs again with the next token
├── NoSuchApp                ask for another app
├── NoToken                  ask again later
├── TooSoon                  ask again later
├── Denied                   ask an operator for access
├── Undecided                ask again later
└── DsmError                 an attempt failed
    ├── Retryable            try again after a backoff
    ├── SessionLost          log in at once, and only once
    └── Rejected             an operator must act; tried again rarely
        └── LoginSuppressed  the login was not sent
"""

from enum import StrEnum

from refresherd.domain.durations import in_seconds


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
    """The credential could not be read on this host; no request was sent."""


class RefresherdError(Exception):
    """An error that is shown to an operator in one line, without a traceback."""


class ConfigError(RefresherdError):
    """The configuration has faults; each line names file, line, key and remedy.

    `others` are lines about what is no fault of the file: see `refresherd check`.
    """

    def __init__(self, faults: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
        self.others = others


class OutputError(RefresherdError):
    """An output could not be updated to the newest token; the text says why."""


class HookError(RefresherdError):
    """A hook failed, or took too long (`timed_out`); the text says why."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class NoSuchApp(RefresherdError):
    """There is no app of that name, or it is gone."""


class NoToken(RefresherdError):
    """There is no such token now; the text says why. `retry_after` is in seconds, 1 or more."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooSoon(RefresherdError):
    """Clients that may only read the token have had it renewed too often.

    `retry_after` is in seconds, 1 or more.
    """

    def __init__(self, app: str, *, retry_after: int) -> None:
        super().__init__(
            f'the token of "{app}" was renewed for its readers too often; ask again in '
            f"{in_seconds(retry_after)}"
        )
        self.retry_after = retry_after


class Denied(RefresherdError):
    """The client may not have the app's token.

    `reason` is why it cannot be told from others, "" if the app's `access` does not name it.
    """

    def __init__(self, app: str, reason: str = "") -> None:
        why = f": {reason}" if reason else ""
        super().__init__(f'you may not read or refresh the token of "{app}"{why}')
        self.reason = reason


class Undecided(RefresherdError):
    """It cannot be told now whether the client may have the app's token; the text says why.

    `retry_after` is in seconds, 1 or more.
    """

    def __init__(self, app: str, reason: str, *, retry_after: int) -> None:
        super().__init__(f'cannot tell whether you may have the token of "{app}": {reason}')
        self.retry_after = retry_after


class DsmError(RefresherdError):
    """An attempt failed. The message never holds a credential or a token.

    `request_id` is the answer's `x-request-id`, "" if there was none.
    """

    def __init__(self, reason: Reason, message: str, *, request_id: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.request_id = request_id

    def explain(self, cause: str) -> None:
        """Append what is probably the cause to the message."""
        self.message = f"{self.message}; {cause}"
        self.args = (self.message,)


class Retryable(DsmError):
    """Network trouble, overload or an unreadable answer: it may pass by itself.

    `retry_after` is the wait in seconds that the server asked for, None if it named none.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason, message, request_id=request_id)
        self.retry_after = retry_after


class SessionLost(DsmError):
    """DSM does not renew the session.

    `dead` tells whether DSM declared the token dead (401), or only refused to renew it (403), in
    which case consumers may use it until it expires.
    """

    def __init__(self, message: str, *, request_id: str = "", dead: bool = True) -> None:
        super().__init__(Reason.SESSION_LOST, message, request_id=request_id)
        self.dead = dead


class Rejected(DsmError):
    """DSM refused the credential, or wants a second factor: to retry would burn the credential."""


class LoginSuppressed(Rejected):
    """A login was not sent, since too many with the same credential have failed.

    `until` is when one is allowed again. It is None if another app's login with the credential has
    just been refused; then the wait is that of any refusal.
    """

    def __init__(self, message: str, until: float | None = None) -> None:
        super().__init__(Reason.REJECTED, message)
        self.until = until
