"""The daemon's JSON about apps as values: what `status`, `wait` and `refresh` go by."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from refresherd.cli.client.failures import UNEXPECTED, Unintelligible
from refresherd.cli.client.plain import one_line

VALID = ("fresh", "retrying")
"""The states in which there is a valid token."""


@dataclass(frozen=True, slots=True)
class Status:
    """An app as the daemon tells of it. Instants in unix seconds, None for none.

    `reasons` say why it is not ready.
    """

    name: str
    state: str
    expires_at: float | None
    next_refresh_at: float | None
    generation: int
    failures: int
    last_error: str
    outage_budget: float | None
    ready: bool
    reasons: tuple[str, ...]

    def left(self, now: float) -> float:
        """Return for how many seconds there is a valid token, 0 without one."""
        if self.expires_at is None or self.state not in VALID:
            return 0.0
        return max(0.0, self.expires_at - now)


def read(text: bytes) -> tuple[Status, ...]:
    """Return the apps of `GET /v1/apps`, or the one of `GET /v1/apps/APP`.

    Raises Unintelligible.
    """
    try:
        message = json.loads(text)
        return tuple(_status(app) for app in message.get("apps", (message,)))
    except UNEXPECTED as error:
        raise Unintelligible(
            "the daemon's status is not what this command understands, it may be of another "
            f"version ({type(error).__name__}: {one_line(str(error))})"
        ) from error


def read_one(text: bytes) -> Status:
    """Return the app of `GET /v1/apps/APP`. Raises Unintelligible."""
    statuses = read(text)
    if len(statuses) != 1:
        raise Unintelligible("the daemon tells of other apps than of the one asked for")
    return statuses[0]


def _status(app: dict[str, Any]) -> Status:
    state = one_line(str(app["state"]))
    error = one_line(app["last_error"] or "")
    reasons = app.get("not_ready_because") or (f"{state}: {error}" if error else state,)
    budget = app["outage_budget_seconds"]
    return Status(
        name=one_line(str(app["name"])),
        state=state,
        expires_at=_instant(app["expires_at"]),
        next_refresh_at=_instant(app["next_refresh_at"]),
        generation=int(app["generation"]),
        failures=int(app["consecutive_failures"]),
        last_error=error,
        outage_budget=None if budget is None else float(budget),
        ready=bool(app.get("ready", state in VALID)),
        reasons=tuple(one_line(str(reason)) for reason in reasons),
    )


def _instant(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
