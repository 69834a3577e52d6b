"""The requests that DSM's session API takes: all of them are a POST without a body."""

from enum import Enum


class Operation(Enum):
    """A request: its path, its Authorization scheme, and what a refusal of it means.

    Paths and schemes as in DSM's public API description.
    """

    LOGIN = ("/sys/v1/session/auth", "Basic", True)
    LOGIN_BY_TOKEN = ("/sys/v1/session/reauth", "Bearer", True)
    """The first login of a host that holds a bearer token only."""
    REAUTH = ("/sys/v1/session/reauth", "Bearer", False)
    KEEP_ALIVE = ("/sys/v1/session/refresh", "Bearer", False)
    TERMINATE = ("/sys/v1/session/terminate", "Bearer", False)

    def __init__(self, path: str, scheme: str, is_login: bool) -> None:  # noqa: FBT001  # an Enum passes its values by position
        self.path = path
        self.scheme = scheme
        self.is_login = is_login
        """No other credential helps where this one is refused."""
