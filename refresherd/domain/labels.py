"""Values of metric labels that events carry; `errors.Reason` and `model.Method` are others."""

from enum import StrEnum


class Ending(StrEnum):
    """The outcome of terminating a session: the `result` label."""

    TERMINATED = "terminated"
    GONE = "gone"
    """It had ended before."""
    FAILED = "failed"
    """DSM could not be reached or refused; the session ends when it has idled long enough."""


class HookResult(StrEnum):
    """The outcome of a hook: the `result` label."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"


class ApiRoute(StrEnum):
    """A route of the API socket: the `route` label."""

    APPS = "/v1/apps"
    APP = "/v1/apps/{app}"
    TOKEN = "/v1/apps/{app}/token"  # noqa: S105  # where a token is served, not a token
    REFRESH = "/v1/apps/{app}/refresh"
    UNKNOWN = "unknown"


class Jump(StrEnum):
    """What moved the clocks apart: the `kind` label."""

    SUSPEND = "suspend"
    STEP = "step"
