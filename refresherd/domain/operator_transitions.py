"""Transitions that people and clients cause: refreshes, changed credentials, files and settings."""

from dataclasses import replace

from refresherd.domain.errors import Reason
from refresherd.domain.model import Instant, Method, Timing
from refresherd.domain.session_state import ALWAYS, SessionState, State, valid_token
from refresherd.domain.timing import check_at, refresh_at


def refresh_requested(session: SessionState, now: Instant, timing: Timing) -> SessionState:
    """Return the state with the next attempt due now, whatever it was waiting for.

    It is due `retry_min` after the last attempt at the earliest: repeated requests flood nobody.
    """
    failed_at = ALWAYS if session.last_failure is None else session.last_failure.at
    last_attempt_at = max(failed_at, session.last_success_at or ALWAYS)
    earliest = max(now, Instant(last_attempt_at + timing.retry_min))
    at = min(session.next_attempt_at, earliest)
    return replace(
        session, next_attempt_at=at, login_at=min(session.login_at, at), by_operator=True
    )


def hastened(session: SessionState, now: Instant, timing: Timing) -> SessionState:
    """Return the state with the next attempt due now, for a client that may only read the token.

    A login that has to wait goes on waiting.
    """
    at = refresh_requested(session, now, timing).next_attempt_at
    if session.method is Method.AUTH:
        at = max(at, session.login_at)
    return replace(session, next_attempt_at=min(session.next_attempt_at, at))


def credential_changed(session: SessionState, now: Instant, timing: Timing) -> SessionState:
    """Return the state with a login due now; the token stays."""
    return replace(refresh_requested(session, now, timing), method=Method.AUTH)


def failed_for_local_files(session: SessionState) -> bool:
    """Return whether the last attempt failed because of a file on this host: a key or a CA."""
    failure = session.last_failure
    return failure is not None and failure.reason in {Reason.CREDENTIAL, Reason.TLS}


def files_changed(session: SessionState, now: Instant, timing: Timing) -> SessionState:
    """Return the state with the next attempt due soon: a file that it needs has changed.

    It is due `retry_min` after the last failure at the earliest, and no earlier than a login that
    a refusal has postponed.
    """
    failed_at = ALWAYS if session.last_failure is None else session.last_failure.at
    at = max(now, Instant(failed_at + timing.retry_min))
    if session.method is Method.AUTH:
        at = max(at, session.login_at)
    return replace(session, next_attempt_at=min(session.next_attempt_at, at))


def settings_changed(
    session: SessionState, now: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the state under another timing: the session stays, its due times change.

    A failed attempt may succeed under the new settings, so the wait after it ends.
    """
    token = valid_token(session, now)
    if token is None:
        return refresh_requested(session, now, timing)
    if session.state is not State.FRESH:
        # A login that is due after a failure stays a login.
        method = session.method if session.method is Method.AUTH else timing.renew
        requested = refresh_requested(session, now, timing)
        return replace(requested, method=method, check_at=check_at(now, timing))
    return replace(
        session,
        method=timing.renew,
        next_attempt_at=refresh_at(token, timing, rand),
        login_at=min(session.login_at, now),
        check_at=check_at(now, timing),
    )
