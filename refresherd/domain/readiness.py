"""Whether an app is ready, and why a client gets no token: decided from reports alone.

Ready is what probes, metrics, `status` and `wait` call an app: its token is delivered, and not
about to expire. Delivered is what the service manager, reloads and `once` wait for: during an
outage, a token that is about to expire must not hold up a boot.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from refresherd.domain.durations import in_seconds
from refresherd.domain.errors import NoToken
from refresherd.domain.model import Instant, Token
from refresherd.domain.session_state import (
    ALWAYS,
    NEVER,
    Failure,
    SessionState,
    State,
    valid_token,
)

SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER = 1.0, 3600.0
"""Seconds after which clients are asked to come back, however far off the next attempt is."""

LAST_SHARE = 0.1
"""The share of a token's lifetime that is left when the token counts as about to expire."""

LONGEST_LAG = 2.0
"""Seconds for which an output may hold the token before the newest one. A write takes milliseconds;
with none allowed, one of a thousand apps would always be unready."""

SETTLING_TIME = 30.0
"""Seconds for which an app may fail before the daemon is ready without it (`Ready.SETTLED`)."""


class Ready(StrEnum):
    """When the daemon reports READY to the service manager."""

    SETTLED = "settled"
    """Every app is delivered, or refused, or has failed for SETTLING_TIME."""
    ALL = "all"
    ANY = "any"
    STARTED = "started"


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """The state of an output."""

    name: str
    holds: Token | None = None
    error: str = ""
    """Why it could not be updated, "" if the last update succeeded."""
    written_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class AppStatus:
    """All that readers outside the core see of an app."""

    name: str
    session: SessionState
    outputs: tuple[OutputStatus, ...] = ()
    token_since: Instant = ALWAYS
    """When the session's token, or its longer life, became known."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A client's request for a token."""

    min_ttl: float
    """How many seconds the token has to be valid."""
    at: Instant
    """When the client asked."""
    until: Instant
    """How long it waits."""


def reasons(status: AppStatus, now: Instant) -> tuple[str, ...]:
    """Return why an app is not ready, nothing if it is.

    1. It has no valid token.
    2. An output could not be updated, or holds an older token for too long.
    3. The token is about to expire.
    """
    token = valid_token(status.session, now)
    expires = "" if token is None else _about_to_expire(status.session, token, now)
    return (*filter(None, [expires]), *undelivered(status, now))


def ready(status: AppStatus, now: Instant) -> bool:
    """Return whether every output holds a valid token that is not about to expire."""
    return not reasons(status, now)


def undelivered(status: AppStatus, now: Instant) -> tuple[str, ...]:
    """Return that an app has no valid token, or which outputs lag behind it, with the causes."""
    token = valid_token(status.session, now)
    if token is None:
        state, failure = status.session.state, status.session.last_failure
        # A state such as "rejected" says the same as its reason.
        same = failure is not None and str(failure.reason) == str(state)
        cause = "" if failure is None else f": {failure.message}" if same else _cause(failure)
        return (f"no valid token ({state}){cause}",)
    late = now - status.token_since > LONGEST_LAG
    return tuple(
        f"{output.name} does not hold the newest token"
        # The error of a file begins with its path.
        + (output.error and f": {output.error.removeprefix(f'{output.name}: ')}")
        for output in status.outputs
        if output.holds != token and (late or not _serves(output, now))
    )


def delivered(status: AppStatus, now: Instant) -> bool:
    """Return whether the app has a valid token that every output holds."""
    return not undelivered(status, now)


def settled(status: AppStatus, now: Instant) -> bool:
    """Return whether the token is delivered, or missing because DSM refused the credential."""
    refused = status.session.state is State.REJECTED
    return (refused and valid_token(status.session, now) is None) or delivered(status, now)


def daemon_ready_at(
    wanted: Ready, apps: int, ready_apps: int, unsettled_since: Iterable[Instant]
) -> Instant:
    """Return when the daemon is ready if nothing happens until then, NEVER if something must.

    `unsettled_since` tells since when each app that has not settled has made no progress.
    """
    if wanted is Ready.SETTLED:
        return Instant(max(unsettled_since, default=ALWAYS) + SETTLING_TIME)
    enough = {Ready.ALL: ready_apps == apps, Ready.ANY: ready_apps > 0, Ready.STARTED: True}
    return ALWAYS if enough[wanted] else NEVER


def stopping() -> NoToken:
    """Return the refusal for an app that is being stopped."""
    return NoToken("the app is being stopped", retry_after=_seconds(SHORTEST_RETRY_AFTER))


def no_token(session: SessionState, now: Instant) -> NoToken:
    """Return the refusal for a client that has waited without success."""
    failure = session.last_failure
    if valid_token(session, now) is not None:
        message = "no token that is valid for long enough has arrived yet"
    elif session.state is State.REJECTED and failure is not None:
        message = f"no valid token, and an operator must act: {failure.message}"
    else:
        (message,) = undelivered(AppStatus("", session), now)
    return NoToken(message, retry_after=_seconds(session.next_attempt_at - now))


def renewed_too_often(allowed_at: Instant, now: Instant) -> NoToken:
    """Return the refusal for a client that wants a longer life than its readers may ask for."""
    seconds = _seconds(allowed_at - now)
    return NoToken(
        "the token was renewed for its readers too often; it can be renewed for them again in "
        f"{in_seconds(seconds)}",
        retry_after=seconds,
    )


def refusal(session: SessionState, ask: Ask, now: Instant) -> NoToken | None:
    """Return the refusal for a client that would wait without success, None if waiting may help.

    1. DSM refused the credential, and no attempt is due or under way before the client gives up.
    2. No token of this app is ever valid for long enough.
    3. A token that was issued after the client asked is not valid for long enough either.
    """
    token = valid_token(session, now)
    if token is None:
        rejected = session.state is State.REJECTED and session.next_attempt_at > ask.until
        return no_token(session, now) if rejected else None
    wanted = f"but {in_seconds(ask.min_ttl)} were requested"
    if token.lifetime <= ask.min_ttl:
        message = f"its tokens live only {in_seconds(token.lifetime)}, {wanted}"
    elif session.last_success_at is not None and session.last_success_at >= ask.at:
        left = token.expires_at - now
        message = f"even its newest token lives only another {in_seconds(left)}, {wanted}"
    else:
        return None
    return NoToken(message, retry_after=_seconds(session.next_attempt_at - now))


def _serves(output: OutputStatus, now: Instant) -> bool:
    """Return whether an output that is being updated still holds a valid token."""
    return output.holds is not None and output.holds.expires_at > now and not output.error


def _about_to_expire(session: SessionState, token: Token, now: Instant) -> str:
    """Return why a token in the last share of its life is not being replaced, "" if it is.

    With `at = 0.95` the refresh is due within that share. Unless an attempt fails, the app stays
    ready for half of what was left then: so long may an attempt take (`timing.attempt_timeout`).
    """
    left = token.expires_at - now
    if left > token.lifetime * LAST_SHARE:
        return ""
    failure = session.last_failure
    if failure is not None:
        return f"the token is about to expire and could not be replaced{_cause(failure)}"
    if left > (token.expires_at - session.next_attempt_at) / 2:
        return ""
    return "the token is about to expire, and its refresh is overdue"


def _cause(failure: Failure) -> str:
    return f": {failure.reason}: {failure.message}"


def _seconds(wait: float) -> int:
    return ceil(min(max(wait, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER))
