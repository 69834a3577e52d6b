"""An app's status as operators and dashboards read it, without the token."""

from dataclasses import dataclass
from typing import Any

from refresherd.domain import formats, readiness, timing
from refresherd.domain.model import App, Instant
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.session_state import NEVER


@dataclass(frozen=True, slots=True)
class Moment:
    """When a status is told. `offset` is what turns an instant into unix seconds."""

    now: Instant
    offset: float

    def date(self, instant: Instant | None) -> str | None:
        """Return an instant as RFC 3339 in UTC, None for none."""
        if instant is None or instant == NEVER:
            return None
        return formats.timestamp(instant + self.offset)


def status_fields(app: App, status: AppStatus, moment: Moment) -> dict[str, Any]:
    """Return an app's status as JSON has it: flat, but for its outputs; null is what is not.

    `expires_at` stays when the token has run out: `state` says so. `last_error` is that of
    the last attempt, null once one has succeeded.
    """
    session = status.session
    token, failure = session.token, session.last_failure
    reasons = readiness.reasons(status, moment.now)
    return {
        "name": status.name,
        "state": session.state.value,
        "ready": not reasons,
        "not_ready_because": list(reasons),
        "expires_at": moment.date(None if token is None else token.expires_at),
        "issued_at": moment.date(None if token is None else token.issued_at),
        "next_refresh_at": moment.date(session.next_attempt_at),
        "last_refresh_success_at": moment.date(session.last_success_at),
        "generation": session.generation,
        "consecutive_failures": session.failures,
        "last_error": None if failure is None else f"{failure.reason}: {failure.message}",
        "last_error_at": moment.date(None if failure is None else failure.at),
        "outage_budget_seconds": None if token is None else _budget(app, token.lifetime),
        "endpoint": app.endpoint.url,
        "outputs": [_output(output, status, moment) for output in status.outputs],
    }


def _budget(app: App, lifetime: float) -> float:
    return round(timing.outage_budget(lifetime, app.timing), 3)


def _output(output: OutputStatus, status: AppStatus, moment: Moment) -> dict[str, Any]:
    token = status.session.token
    return {
        "path": output.name,
        "current": output.holds is not None and output.holds == token,
        "written_at": moment.date(output.written_at),
        "error": output.error or None,
    }
