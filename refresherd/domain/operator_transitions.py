"""What somebody's doing makes of an app's life: an operator's wish, another key, other settings."""

from dataclasses import replace

from refresherd.domain.model import Instant, Method, Timing
from refresherd.domain.session_state import ALWAYS, SessionState, State, valid_token
from refresherd.domain.timing import check_at, refresh_at


def hastened(session: SessionState, now: Instant, timing: Timing) -> SessionState:
    """Return the life with its next attempt due now, whatever it waited for: somebody asked.

    Not within `retry_min` of the last one, though: asking again and again floods nobody.
    """
    spaced = max(now, Instant(_last_attempt_at(session) + timing.retry_min))
    at = min(session.next_attempt_at, spaced)
    return replace(
        session, next_attempt_at=at, login_at=min(session.login_at, at), by_operator=True
    )


def relogged(session: SessionState, now: Instant, timing: Timing) -> SessionState:
    """Return the life with a login due now, since its credential is another: the token stays."""
    return replace(hastened(session, now, timing), method=Method.AUTH)


def retuned(session: SessionState, now: Instant, timing: Timing, rand: float) -> SessionState:
    """Return the life under another timing: the session stays, and what is due follows.

    What failed may work under the new settings, so a wait after it ends.
    """
    token = valid_token(session, now)
    if token is None:
        return hastened(session, now, timing)
    if session.state is not State.FRESH:
        # A login that trouble has made due stays one.
        method = session.method if session.method is Method.AUTH else timing.renew
        soon = hastened(session, now, timing)
        return replace(soon, method=method, check_at=check_at(now, timing))
    return replace(
        session,
        method=timing.renew,
        next_attempt_at=refresh_at(token, timing, rand),
        login_at=min(session.login_at, now),
        check_at=check_at(now, timing),
    )


def _last_attempt_at(session: SessionState) -> Instant:
    failed_at = ALWAYS if session.last_failure is None else session.last_failure.at
    return max(failed_at, session.last_success_at or ALWAYS)
