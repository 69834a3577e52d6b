"""One app's session as a state machine: (state, event, now) → state.

`SessionState` is all that is known about an app at an instant. `next_action` tells what is due, and
`wake_at` when to ask again. Expiry is due by itself: the next attempt may be far off.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import Grant, Instant, Method, Timing, Token
from refresherd.domain.timing import (
    backoff,
    bounded_retry_after,
    check_at,
    nears_maximum,
    refresh_at,
    rejected_until,
)

ALWAYS = Instant(-inf)
NEVER = Instant(inf)

LOGIN_EVERY = 2
"""Every second attempt after a failed renewal is a login: reauth alone may be broken."""


class State(StrEnum):
    """An app's state as operators see it."""

    STARTING = "starting"
    """No token yet."""
    FRESH = "fresh"
    RETRYING = "retrying"
    """A valid token, and the last attempt failed."""
    EXPIRED = "expired"
    """No valid token any more."""
    REJECTED = "rejected"
    """DSM refused the credential: an operator must act."""


class Action(StrEnum):
    """What is due for an app."""

    EXPIRE = "expire"
    ATTEMPT = "attempt"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why and when the last attempt failed, and since when every attempt has."""

    reason: Reason
    message: str
    at: Instant
    since: Instant


@dataclass(frozen=True, slots=True)
class SessionState:
    """All that is known about an app's session."""

    state: State
    next_attempt_at: Instant
    method: Method = Method.AUTH
    """What the next attempt does."""
    token: Token | None = None
    """The newest token that DSM has not declared dead."""
    expired: bool = False
    """The token has expired, and that was noticed."""
    dead: bool = False
    """DSM declared the last token dead, so outputs remove it."""
    generation: int = 0
    failures: int = 0
    """Failed attempts in a row."""
    last_failure: Failure | None = None
    last_success_at: Instant | None = None
    login_at: Instant = ALWAYS
    """No login before this: a refused credential is not tried, while a valid token is renewed."""
    check_at: Instant | None = None
    """When to check whether the session is still alive, None for never."""
    by_operator: bool = False
    """Somebody asked for the next attempt; it is not only the schedule's."""
    longest_reauth: float = 0.0
    """The longest lifetime that a reauth has granted since the last login, 0 if none has."""


def begin(now: Instant, generation: int = 0, *, by_operator: bool = False) -> SessionState:
    """Return the state of an app that has just been started, whose first attempt is due.

    `generation` is that of its last token, if it had one under other settings. `by_operator` tells
    that an operator has just configured it.
    """
    return SessionState(State.STARTING, now, generation=generation, by_operator=by_operator)


def with_generation(session: SessionState, generation: int) -> SessionState:
    """Return the state of an app whose last token, perhaps lost, had at least this generation."""
    return replace(session, generation=max(generation, session.generation))


def resumed(
    session: SessionState, token: Token, now: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the state of an app that has just been started, and continues an earlier session."""
    renewed_at = Instant(token.expires_at - token.lifetime)
    return replace(_fresh(session, token, now, timing, rand), last_success_at=renewed_at)


def valid_token(session: SessionState, now: Instant) -> Token | None:
    """Return the token that consumers may get now, None if there is none."""
    if session.token is None or session.token.expires_at <= now:
        return None
    return session.token


def expires_at(session: SessionState) -> Instant:
    """Return when an expiry will have to be noticed, NEVER if none will come."""
    return NEVER if session.token is None or session.expired else session.token.expires_at


def next_action(session: SessionState, now: Instant, *, busy: bool) -> Action | None:
    """Return what is due now, None if nothing is. Expiry comes first: readers must know of it.

    While an attempt is under way (`busy`) nothing else is due.
    """
    if expires_at(session) <= now:
        return Action.EXPIRE
    if busy:
        return None
    if session.next_attempt_at <= now:
        return Action.ATTEMPT
    if session.check_at is not None and session.check_at <= now:
        return Action.CHECK
    return None


def wake_at(session: SessionState, *, busy: bool) -> Instant:
    """Return when `next_action` will return something, NEVER if it will not."""
    if busy:
        return expires_at(session)
    check_at = NEVER if session.check_at is None else session.check_at
    return min(session.next_attempt_at, check_at, expires_at(session))


def granted(  # noqa: PLR0913  # the last has a default
    session: SessionState,
    grant: Grant,
    sent_at: Instant,
    timing: Timing,
    rand: float,
    *,
    by_reauth: bool = False,
) -> SessionState:
    """Return the state after a new session was granted to a request sent at `sent_at`.

    `by_reauth`: a reauth granted it; a login is possible, and is next near the maximum age.
    """
    token = Token(
        access_token=grant.access_token,
        entity_id=grant.entity_id,
        generation=session.generation + 1,
        issued_at=sent_at,
        lifetime=grant.lifetime,
        expires_at=Instant(sent_at + grant.lifetime),
    )
    fresh, before = _fresh(session, token, sent_at, timing, rand), session.longest_reauth
    may_log_in = by_reauth and session.login_at <= fresh.next_attempt_at
    if may_log_in and nears_maximum(grant.lifetime, before):
        return replace(fresh, method=Method.AUTH)
    longest = max(grant.lifetime, before) if by_reauth else 0.0
    return fresh if longest == before else replace(fresh, longest_reauth=longest)


def kept_alive(
    session: SessionState, sent_at: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the state after a keep-alive: the same session does not idle out yet."""
    if session.token is None:
        raise ValueError("there is no session to keep alive")
    expires_at = Instant(sent_at + session.token.lifetime)
    return _fresh(session, replace(session.token, expires_at=expires_at), sent_at, timing, rand)


def checked(session: SessionState, now: Instant, timing: Timing) -> SessionState:
    """Return the state after a check that found the session alive, or got no answer."""
    if session.check_at is None:
        return session  # the token expired meanwhile
    return replace(session, check_at=check_at(now, timing))


def check_failed(
    session: SessionState, error: DsmError, now: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the state after a check that failed: only a dead session changes it."""
    if isinstance(error, SessionLost) and error.dead:
        return failed(session, error, now, timing, rand)
    return checked(session, now, timing)


def failed(
    session: SessionState, error: DsmError, now: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the state after an attempt that failed with `error`."""
    since = now if session.last_failure is None else session.last_failure.since
    dead = session.dead or (isinstance(error, SessionLost) and error.dead)
    after = replace(
        session,
        token=None if dead else session.token,
        dead=dead,
        failures=session.failures + 1,
        last_failure=Failure(error.reason, error.message, now, since),
    )
    if isinstance(error, Rejected) and session.method is Method.AUTH:
        after = replace(after, login_at=rejected_until(error, now, timing))
    token = valid_token(after, now)
    remaining = None if token is None else token.expires_at - now
    wait = backoff(after.failures, timing, rand, inf if remaining is None else remaining)
    if isinstance(error, Retryable):
        wait = max(wait, bounded_retry_after(error.retry_after, remaining))
    retry_at = Instant(now + wait)
    login_at = now if _login_is_due(session, error) else retry_at
    method, at = _next_attempt(after, now, login_at, retry_at, timing)
    return replace(
        after,
        state=_state_without_success(after, now),
        method=method,
        next_attempt_at=at,
        check_at=None if token is None else session.check_at,
        # A login that follows at once belongs to the attempt that was asked for.
        by_operator=session.by_operator and at <= now,
    )


def expired(session: SessionState, now: Instant) -> SessionState:
    """Return the state once its token has expired: from here only a login helps."""
    return replace(
        session,
        state=_state_without_success(session, now),
        expired=True,
        method=Method.AUTH,
        next_attempt_at=max(session.next_attempt_at, session.login_at),
        check_at=None,
    )


def _fresh(
    session: SessionState, token: Token, now: Instant, timing: Timing, rand: float
) -> SessionState:
    return SessionState(
        State.FRESH,
        next_attempt_at=refresh_at(token, timing, rand),
        method=timing.renew,
        token=token,
        generation=max(token.generation, session.generation),
        last_success_at=now,
        login_at=session.login_at,
        check_at=check_at(now, timing),
        longest_reauth=session.longest_reauth,
    )


def _login_is_due(session: SessionState, error: DsmError) -> bool:
    """Return whether DSM will not renew the session, so that a login is due at once.

    Never twice in a row: if the failed attempt was itself due at once, the next one waits.
    """
    failure = session.last_failure
    was_at_once = failure is not None and session.next_attempt_at <= failure.at
    if was_at_once or isinstance(error, Retryable):
        return False
    return isinstance(error, SessionLost) or session.method is not Method.AUTH


def _next_attempt(
    session: SessionState, now: Instant, login_at: Instant, retry_at: Instant, timing: Timing
) -> tuple[Method, Instant]:
    """Return what follows a failure: a login at `login_at`, or another renewal at `retry_at`.

    1. Without a valid token, or with `renew = "auth"`, only a login helps.
    2. A login is next if the session cannot be renewed, or after every second failed reauth, unless
       the credential is not tried until later. Keep-alives go on: their consumers cannot read a new
       token, so it is the last resort.
    """
    if valid_token(session, now) is None or timing.renew is Method.AUTH:
        return Method.AUTH, max(login_at, session.login_at)
    in_turn = timing.renew is Method.REAUTH and session.failures % LOGIN_EVERY == 0
    if (in_turn or login_at < retry_at) and session.login_at <= login_at:
        return Method.AUTH, login_at
    return timing.renew, retry_at


def _state_without_success(session: SessionState, now: Instant) -> State:
    if session.login_at > now:
        return State.REJECTED
    if valid_token(session, now) is not None:
        return State.RETRYING
    return State.STARTING if session.last_success_at is None else State.EXPIRED
