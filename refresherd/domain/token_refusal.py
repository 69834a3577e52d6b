"""Why whoever asks for a token gets none, and when to ask again: a verdict over an app's life."""

from dataclasses import dataclass
from math import ceil

from refresherd.domain import readiness, session_state
from refresherd.domain.errors import NoToken
from refresherd.domain.model import Instant, Token
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import SessionState, State

LONGEST_RETRY_AFTER = 3600.0
"""Seconds. Whoever obeys asks again at least so often, however far off the next attempt is."""

AT_ONCE = 1.0
"""Seconds. The shortest `Retry-After` there is."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody asks for a token that lives for `min_ttl` seconds more, and waits `until` then."""

    min_ttl: float
    at: Instant
    until: Instant


def stopping() -> NoToken:
    """Return the refusal for an app that is kept no longer."""
    return NoToken("the app is being stopped", retry_after=_seconds(AT_ONCE))


def hopeless(session: SessionState, ask: Ask, now: Instant) -> NoToken | None:
    """Return the refusal where waiting brings no token that lives for so long, else None."""
    token = session_state.valid_token(session, now)
    if token is None:
        return _refused_credential(session, ask, now)
    message = _too_short(session, token, ask, now)
    if not message:
        return None
    return NoToken(message, retry_after=_seconds(session.next_attempt_at - now))


def none_yet(session: SessionState, now: Instant) -> NoToken:
    """Return the refusal for who has waited in vain."""
    told = readiness.reasons(AppStatus("", session), now)
    message = told[0] if told else "no token that lives for so long has come yet"
    if told and session.state is State.REJECTED:
        message = f"DSM refused the credential, so an operator must act; {message}"
    return NoToken(message, retry_after=_seconds(session.next_attempt_at - now))


def _refused_credential(session: SessionState, ask: Ask, now: Instant) -> NoToken | None:
    """Refuse where DSM refused the credential, and is not asked again in time.

    An attempt that is due or under way is waited for: it may change that.
    """
    refused = session.state is State.REJECTED and session.next_attempt_at > ask.until
    return none_yet(session, now) if refused else None


def _too_short(session: SessionState, token: Token, ask: Ask, now: Instant) -> str:
    if token.lifetime <= ask.min_ttl:
        return (
            f"its tokens live for {token.lifetime:g} s only, and {ask.min_ttl:g} s were asked for"
        )
    if session.last_success_at is not None and session.last_success_at >= ask.at:
        return (
            f"even its newest token lives for another {token.expires_at - now:.3g} s only, "
            f"and {ask.min_ttl:g} s were asked for"
        )
    return ""


def _seconds(wait: float) -> int:
    return ceil(min(max(wait, AT_ONCE), LONGEST_RETRY_AFTER))
