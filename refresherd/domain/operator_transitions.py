"""What somebody's doing makes of an app's life: an operator's wish, another key, other settings."""

from dataclasses import replace

from refresherd.domain.model import Instant, Method, Timing
from refresherd.domain.session_state import ALWAYS, Life, State, valid_token
from refresherd.domain.timing import check_at, refresh_at


def hastened(life: Life, now: Instant, timing: Timing) -> Life:
    """Return the life with its next attempt due now, whatever it waited for: somebody asked.

    Not within `retry_min` of the last one, though: asking again and again floods nobody.
    """
    spaced = max(now, Instant(_last_attempt_at(life) + timing.retry_min))
    at = min(life.next_attempt_at, spaced)
    return replace(life, next_attempt_at=at, login_at=min(life.login_at, at), asked=True)


def relogged(life: Life, now: Instant, timing: Timing) -> Life:
    """Return the life with a login due now, since its credential is another: the token stays."""
    return replace(hastened(life, now, timing), method=Method.AUTH)


def retuned(life: Life, now: Instant, timing: Timing, luck: float) -> Life:
    """Return the life under another timing: the session stays, and what is due follows.

    What failed may work under the new settings, so a wait after it ends.
    """
    token = valid_token(life, now)
    if token is None:
        return hastened(life, now, timing)
    if life.state is not State.FRESH:
        # A login that trouble has made due stays one.
        method = life.method if life.method is Method.AUTH else timing.renew
        soon = hastened(life, now, timing)
        return replace(soon, method=method, check_at=check_at(now, timing))
    return replace(
        life,
        method=timing.renew,
        next_attempt_at=refresh_at(token, timing, luck),
        login_at=min(life.login_at, now),
        check_at=check_at(now, timing),
    )


def _last_attempt_at(life: Life) -> Instant:
    failed_at = ALWAYS if life.last_failure is None else life.last_failure.at
    return max(failed_at, life.last_success_at or ALWAYS)
