"""The log of requests that the emulator received, for a test to read."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Request:
    """One request; `status` is None until it is answered, and for ever if it never is.

    `time` is its arrival in seconds on the emulator's clock, `app` the UUID of the app that it was
    about, `scheme` that of its Authorization header (the credential itself is not kept),
    `content_length` the header's bytes, `fault` whether it met one.
    """

    time: float
    method: str
    path: str
    operation: str
    request_id: str
    scheme: str
    accept: str | None
    content_type: str | None
    content_length: int | None
    app: str | None = None
    fault: bool = False
    status: int | None = None


class RequestLog:
    """The newest `size` requests, oldest first."""

    def __init__(self, size: int) -> None:
        self._requests: deque[Request] = deque(maxlen=size)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests))

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: Request) -> None:
        """Append a request, dropping the oldest when the log is full."""
        self._requests.append(request)

    def clear(self) -> None:
        """Forget all requests."""
        self._requests.clear()

    def select(self, *, operation: str = "*", app: str = "*", since: float = 0.0) -> list[Request]:
        """Return the requests for an operation, of an app (its UUID), from `since` on."""
        return [
            request
            for request in self
            if operation in ("*", request.operation)
            and app in ("*", request.app)
            and request.time >= since
        ]
