"""The running daemon, reached over its API socket."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from math import inf
from stat import S_ISSOCK

from refresherd.cli.client.http_client import Deadline, Response, Stream, send_request
from refresherd.cli.errors import InvalidResponse, NoDaemon, NotPermitted, TimedOut, current_user
from refresherd.domain.durations import in_seconds

OK = 200

STREAM_TIMEOUT = 5.0
"""Seconds. A daemon that is not stuck begins a stream sooner."""


class Daemon:
    """A daemon at the path of its socket. Every failure is a CommandError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def token(
        self, app: str, token_format: str, deadline: Deadline, *, min_ttl: float, wait: float = inf
    ) -> bytes:
        """Return an app's token in a format, waiting for one that lives `min_ttl` seconds.

        The daemon waits until the deadline, or only for `wait` seconds.
        """
        seconds = _number(min(wait, deadline.answer))
        target = f"/v1/apps/{app}/token?format={token_format}&wait={seconds}"
        if min_ttl:
            target += f"&min_ttl={_number(min_ttl)}"
        return self._request("GET", target, app, deadline)

    def status(self, app: str, deadline: Deadline) -> bytes:
        """Return the status of an app, or of every app if `app` is "", as the daemon's JSON."""
        target = f"/v1/apps/{app}" if app else "/v1/apps"
        return self._request("GET", target, app, deadline)

    def refresh(self, app: str, deadline: Deadline, *, wait: float = inf) -> bytes:
        """Start a refresh; return the app's status when it is done, or when the wait is over.

        The daemon waits until the deadline, or only for `wait` seconds.
        """
        target = f"/v1/apps/{app}/refresh?wait={_number(min(wait, deadline.answer))}"
        return self._request("POST", target, app, deadline)

    def tokens(self, app: str, idle: Callable[[], object] = lambda: None) -> Iterator[bytes]:
        """Yield a line of JSON for the current token and each new one until the daemon stops.

        `idle` is called every half a second in between.
        """
        target = f"/v1/apps/{app}/token?watch=1"
        deadline = Deadline(STREAM_TIMEOUT)
        with translated_errors(self._path, deadline):
            connection = send_request(self._path, "GET", target, deadline)
            with connection, BufferedReader(raw := Stream(connection, deadline, idle)) as stream:
                response = self._checked(Response(stream), app, deadline)
                raw.deadline = None
                yield from response.lines()

    def _request(self, method: str, target: str, app: str, deadline: Deadline) -> bytes:
        with translated_errors(self._path, deadline):
            connection = send_request(self._path, method, target, deadline)
            with connection, BufferedReader(Stream(connection, deadline)) as stream:
                body = self._checked(Response(stream), app, deadline).body()
        if not body:
            raise InvalidResponse(f"the response on {self._path} is empty")
        return body

    def _checked(self, response: Response, app: str, deadline: Deadline) -> Response:
        """Return a response of status 200; raise the error for any other."""
        if response.status != OK:
            # Rarely needed, and a tenth of all import time.
            from refresherd.cli.client.messages import error_from

            raise error_from(response, app, lambda: self.status("", deadline))
        return response


@contextmanager
def translated_errors(path: str, deadline: Deadline) -> Iterator[None]:
    """Turn errors of the socket at `path` into CommandErrors that name it and the cure."""
    try:
        yield
    except InvalidResponse as error:
        raise InvalidResponse(
            f"{path} does not answer like a refresherd of this version: {error}"
        ) from error
    except TimeoutError as error:
        raise TimedOut(
            f"no answer on {path} within {in_seconds(deadline.seconds)}: does refresherd hang, or "
            "has it failed, and systemd keeps its socket? See its log"
        ) from error
    except PermissionError as error:
        _demand_socket(path)
        raise NotPermitted(
            f"{current_user()} may not connect to {path}: change mode or group under [api] in "
            "the daemon's configuration to allow it"
        ) from error
    except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError) as error:
        _demand_socket(path)
        raise NoDaemon(
            f"nothing answers on {_followed(path)}: is refresherd running? "
            "If its socket is elsewhere, name it with --socket or $REFRESHERD_SOCKET"
        ) from error
    except ConnectionError as error:
        raise NoDaemon(f"the daemon closed the connection on {path}") from error
    except OSError as error:
        reason = error.strerror or error
        raise NoDaemon(
            f"{path} cannot be used as the daemon's socket: {reason}; name it with --socket"
        ) from error


def _demand_socket(path: str) -> None:
    """Raise an error if no socket is at the path: the kernel's own would mislead."""
    try:
        found = os.stat(path)  # noqa: PTH116  # importing pathlib would take 3 ms
    except PermissionError:
        raise NotPermitted(
            f"{current_user()} may not look for the daemon's socket at {path}: let this user enter "
            "the directories on its path (mode x)"
        ) from None
    except OSError:
        return
    if not S_ISSOCK(found.st_mode):
        from refresherd.host.file_record import kind  # rarely needed, and slow to import

        raise NoDaemon(
            f"{path} is {kind(found)}, not a socket; name the daemon's with --socket"
        ) from None


def _followed(path: str) -> str:
    """Return the path; if it is a link, with where that leads."""
    try:
        return f"{path}, a link to {os.readlink(path)}"  # noqa: PTH115  # as above
    except OSError:
        return path


def _number(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
