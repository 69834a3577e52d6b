"""Why the daemon refused: its application/problem+json (RFC 9457) as an error of the command."""

import json
from collections.abc import Callable

from refresherd.cli.client.answer import Answer
from refresherd.cli.client.failures import (
    UNEXPECTED,
    BadRequest,
    CommandError,
    NotNow,
    NotPermitted,
    Unintelligible,
    UnknownApp,
)
from refresherd.cli.client.identity import whoever_asks
from refresherd.cli.client.plain import one_line
from refresherd.cli.client.statuses import read

CONTENT_TYPE = "application/problem+json"


def refusal(answer: Answer, app: str, statuses: Callable[[], bytes]) -> CommandError:
    """Return the error for an answer that is not 200, to a request about an app, "" for all.

    `statuses` gets the daemon's status of every app, to tell which apps there are.
    """
    detail = _detail(answer)
    match answer.status:
        case 400:
            return BadRequest(detail)
        case 403:
            return NotPermitted(
                f"{detail}: {whoever_asks()} is not among the users, groups and units under "
                f"[apps.{app}.access] in the daemon's configuration"
            )
        case 404:
            return UnknownApp(f"{detail}{_there_are(statuses) if app else ''}")
        case 503:
            return NotNow(f"{app}: {detail}")
        case status:
            return Unintelligible(f"{status}: {detail}")


def _there_are(statuses: Callable[[], bytes]) -> str:
    try:
        names = [status.name for status in read(statuses())]
    except CommandError:
        return ""
    return f"; there are: {', '.join(names)}" if names else ""


def _detail(answer: Answer) -> str:
    """Return the problem in words. What is no problem+json did not come from the API."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != CONTENT_TYPE:
        raise Unintelligible(f"{answer.status} without a reason")
    try:
        problem = json.loads(answer.body())
        words = problem.get("detail") or problem["title"]
        return one_line(str(words))
    except UNEXPECTED as error:
        raise Unintelligible(f"{answer.status} with a reason that is none") from error
