"""The daemon's JSON as values: the status of apps, and problems (RFC 9457) as errors."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from refresherd.cli.client.http_client import Response
from refresherd.cli.errors import (
    CommandError,
    InvalidResponse,
    NotPermitted,
    TimedOut,
    Unavailable,
    UsageError,
    current_user,
)

VALID = ("fresh", "retrying")
"""The states in which there is a valid token."""

REJECTED = "rejected"
"""The state in which DSM has refused the credential."""

PROBLEM = "application/problem+json"

MAX_TEXT = 400

MALFORMED = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading a document raises if it is not JSON, or not of the expected shape."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Status:
    """An app as the daemon reports it."""

    name: str
    state: str
    expires_at: float | None
    """In unix seconds."""
    ready: bool
    reasons: tuple[str, ...]
    """Why the app is not ready."""

    def seconds_left(self, now: float) -> float:
        """Return how long the token is still valid, 0 if there is no valid one."""
        if self.expires_at is None or self.state not in VALID:
            return 0.0
        return max(0.0, self.expires_at - now)


def read_apps(text: bytes, read: Callable[[dict[str, Any]], T]) -> tuple[T, ...]:
    """Return what `read` makes of the fields of each app.

    `text` is the answer to `GET /v1/apps`, or to `GET /v1/apps/APP`. Its texts are made fit for a
    terminal. Raises InvalidResponse.
    """
    try:
        document = json.loads(text)
        return tuple(read(_printable(app)) for app in document.get("apps", (document,)))
    except MALFORMED as error:
        raise InvalidResponse(
            "cannot read the daemon's status, it may be of another version "
            f"({type(error).__name__}: {one_line(str(error))})"
        ) from error


def read_statuses(text: bytes) -> tuple[Status, ...]:
    """Return the apps of `GET /v1/apps`, or the one of `GET /v1/apps/APP`.

    Raises InvalidResponse.
    """
    return read_apps(text, _status)


def read_app(text: bytes, read: Callable[[dict[str, Any]], T]) -> T:
    """Return what `read` makes of the one app of `GET /v1/apps/APP`. Raises InvalidResponse."""
    apps = read_apps(text, read)
    if len(apps) != 1:
        raise InvalidResponse("the daemon reported other apps than the one requested")
    return apps[0]


def read_status(text: bytes) -> Status:
    """Return the app of `GET /v1/apps/APP`. Raises InvalidResponse."""
    return read_app(text, _status)


def read_output_paths(text: bytes) -> frozenset[str]:
    """Return the paths of all files and sockets in `GET /v1/apps`. Raises InvalidResponse."""
    try:
        apps = json.loads(text)["apps"]
        return frozenset(str(one["path"]) for app in apps for one in app["outputs"])
    except MALFORMED as error:
        raise InvalidResponse("cannot read the daemon's outputs") from error


_RETRYABLE: Mapping[int, type[CommandError]] = {429: TimedOut, 503: Unavailable}


def error_from(response: Response, app: str, statuses: Callable[[], bytes]) -> CommandError:
    """Return the error for a response that is not 200, to a request about `app` ("" for all).

    `statuses` fetches the status of every app, so that a misspelt name is answered with the names.
    Raises InvalidResponse if the body is not the API's: then something else answered.
    """
    detail, unidentified = _problem(response)
    match response.status:
        case 403:
            if unidentified:
                return NotPermitted(detail)
            return NotPermitted(
                f"{detail}: {current_user()} is not among the users, groups and units under "
                f"[apps.{app}.access] in the daemon's configuration"
            )
        case 404 if app:
            with suppress(CommandError):  # a second failure must not hide the first
                names = ", ".join(status.name for status in read_statuses(statuses()))
                detail += f"; the apps are: {names}" if names else ""
            return UsageError(detail)
        case 400 | 404:
            return UsageError(detail)
        case 429 | 503:
            return _RETRYABLE[response.status](f"{app}: {detail}")
        case status:
            return InvalidResponse(f"status {status}: {detail}")


def one_line(text: str) -> str:
    """Return a text on one line, without control characters, cut after 400 characters."""
    if text.isprintable() and " " not in text and len(text) <= MAX_TEXT:
        return text  # most are short: the status of ten thousand apps holds a million
    safe = "".join(letter if letter.isprintable() else " " for letter in text[: MAX_TEXT + 1])
    words = " ".join(safe.split())
    return words if len(text) <= MAX_TEXT else f"{words[:MAX_TEXT]}..."


def _printable(value: Any) -> Any:  # noqa: ANN401  # any part of a JSON document
    """Return the value with each text in it on one line, without control characters."""
    match value:
        case str():
            return one_line(value)
        case list():
            return [_printable(item) for item in value]
        case dict():
            return {key: _printable(item) for key, item in value.items()}
        case _:
            return value


def _status(app: dict[str, Any]) -> Status:
    state, error = str(app["state"]), app["last_error"]
    reasons = app.get("not_ready_because") or (f"{state}: {error}" if error else state,)
    return Status(
        name=str(app["name"]),
        state=state,
        expires_at=_instant(app["expires_at"]),
        ready=bool(app.get("ready", state in VALID)),
        reasons=tuple(map(str, reasons)),
    )


def _instant(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _problem(response: Response) -> tuple[str, bool]:
    """Return a problem's text, and whether it gives the reason why nobody is identified."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != PROBLEM:
        raise InvalidResponse(f"status {response.status} without {PROBLEM}")
    try:
        problem = json.loads(response.body())
        return one_line(str(problem.get("detail") or problem["title"])), "reason" in problem
    except MALFORMED as error:
        raise InvalidResponse(f"status {response.status} with malformed {PROBLEM}") from error
