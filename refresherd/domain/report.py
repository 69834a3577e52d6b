"""What operators see of an app: the facts, and what to do about its trouble."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from refresherd.domain import formats, readiness, session_state, timing, words
from refresherd.domain.errors import Reason
from refresherd.domain.labels import HookResult
from refresherd.domain.login_budget import MAX_REFUSALS
from refresherd.domain.model import App, Instant
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.session_state import NEVER, State

REMEDIES: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.CONNECT: "check endpoint, proxy, DNS and the firewall",
        Reason.TLS: "check ca_file, the dates and names of DSM's certificate, and the clock",
        Reason.TIMEOUT: "check whether DSM is healthy, and whether the way to it is slow",
        Reason.THROTTLED: "find out which clients send so many requests to this DSM",
        Reason.SERVER_ERROR: "check whether DSM, or a proxy before it, is healthy",
        Reason.BAD_RESPONSE: "check endpoint, and what a proxy in between answers",
        Reason.MFA_REQUIRED: "let the app log in without a second factor, in its settings in DSM",
        Reason.SESSION_LOST: "find out who ends the session, if that happens again",
        Reason.REJECTED: "replace the credential that the error names, or enable the app in DSM",
        Reason.CREDENTIAL: "repair the file, command or variable that the error names",
    }
)
"""What an operator should do when an attempt has failed for a reason."""

REPAIR_OUTPUT = "remove the cause that its error names; it is then written within ten seconds"
REPAIR_HOOK = "repair the hook; it runs again with the next token"


@dataclass(frozen=True, slots=True)
class HookStatus:
    """A hook and its last run."""

    name: str
    result: HookResult | None = None
    """None before the first run."""
    message: str = ""
    """Why it failed; after a success what it printed."""
    ran_at: Instant | None = None
    """When the run ended."""
    duration: float = 0.0
    """Seconds."""

    @property
    def failed(self) -> bool:
        """Whether the last run failed."""
        return self.result not in {None, HookResult.OK}


@dataclass(frozen=True, slots=True)
class Consumer:
    """A user who was given an app's token on a socket."""

    uid: int
    user: str
    """The user's name, "" if it is not known."""
    unit: str
    """The systemd unit, "" if there is none or no decision needed it."""
    asked_at: Instant
    """When the user last got the token."""


@dataclass(frozen=True, slots=True)
class AppReport:
    """All that operators may see of an app. It holds the token, which `fields` leaves out."""

    app: App
    status: AppStatus
    hooks: tuple[HookStatus, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    """The latest first."""
    failed_logins: int | None = None
    """Of the app's credential within 24 hours; None if DSM does not count them."""


def urgency(report: AppReport) -> int:
    """Return the app's place in the order in which operators should look at them, from 0."""
    return words.urgency(report.status.session.state, troubled=troubled(report))


def troubled(report: AppReport) -> bool:
    """Return whether something about the app is wrong."""
    state = report.status.session.state
    return state in {State.REJECTED, State.EXPIRED} or bool(remedy(report))


def holds_valid_token(output: OutputStatus, now: Instant) -> bool:
    """Return whether an output's consumers read a token that has not expired."""
    return output.holds is not None and output.holds.expires_at > now


def lost(report: AppReport, now: Instant) -> bool:
    """Return whether trouble leaves some consumers without a valid token."""
    if not troubled(report):
        return False
    return session_state.valid_token(report.status.session, now) is None or any(
        output.error and not holds_valid_token(output, now) for output in report.status.outputs
    )


def remedy(report: AppReport) -> str:
    """Return what an operator should do about the app, "" if there is nothing to do.

    The most important trouble decides: a failing attempt, then an output, then a hook.
    """
    status = report.status
    if status.session.last_failure is not None:
        return REMEDIES[status.session.last_failure.reason]
    if any(output.error for output in status.outputs):
        return REPAIR_OUTPUT
    return REPAIR_HOOK if any(hook.failed for hook in report.hooks) else ""


def fields(report: AppReport, now: Instant, offset: float) -> dict[str, Any]:
    """Return an app's status as JSON shows it, without the token; null stands for "none".

    `offset` turns an instant into unix seconds. It is the same for all dates of an answer, so
    that equal instants have equal dates.
    `expires_at` stays when the token has expired: `state` says so. `last_error` is null once an
    attempt has succeeded.
    """

    def date(instant: Instant | None) -> str | None:
        if instant is None or instant == NEVER:
            return None
        return formats.timestamp(instant + offset)

    app, status, session = report.app, report.status, report.status.session
    token, failure = session.token, session.last_failure
    reasons = readiness.reasons(status, now)
    budget = None if token is None else timing.outage_budget(token.lifetime, app.timing)
    return {
        "name": status.name,
        "state": session.state.value,
        "ready": not reasons,
        "not_ready_because": list(reasons),
        "troubled": troubled(report),
        "lost": lost(report, now),
        "expires_at": date(None if token is None else token.expires_at),
        "issued_at": date(None if token is None else token.issued_at),
        "next_refresh_at": date(session.next_attempt_at),
        "last_refresh_success_at": date(session.last_success_at),
        "generation": session.generation,
        "consecutive_failures": session.failures,
        "last_error": None if failure is None else f"{failure.reason}: {failure.message}",
        "last_error_at": date(None if failure is None else failure.at),
        "failing_since": date(None if failure is None else failure.since),
        "remedy": remedy(report) or None,
        "lifetime_seconds": None if token is None else round(token.lifetime, 3),
        "outage_budget_seconds": None if budget is None else round(budget, 3),
        "endpoint": app.endpoint.url,
        "renew": app.timing.renew.value,
        "refused_logins": report.failed_logins,
        "refused_logins_limit": None if report.failed_logins is None else MAX_REFUSALS,
        "outputs": [
            {
                "path": output.name,
                "current": output.holds is not None and output.holds == token,
                "generation": None if output.holds is None else output.holds.generation,
                "valid": holds_valid_token(output, now),
                "expires_at": date(None if output.holds is None else output.holds.expires_at),
                "written_at": date(output.written_at),
                "error": output.error or None,
            }
            for output in status.outputs
        ],
        "hooks": [
            {
                "name": hook.name,
                "result": None if hook.result is None else hook.result.value,
                "ran_at": date(hook.ran_at),
                "duration_seconds": None if hook.ran_at is None else round(hook.duration, 3),
                "message": hook.message or None,
            }
            for hook in report.hooks
        ],
        "consumers": [
            {
                "uid": consumer.uid,
                "user": consumer.user or None,
                "unit": consumer.unit or None,
                "asked_at": date(consumer.asked_at),
            }
            for consumer in report.consumers
        ],
    }
