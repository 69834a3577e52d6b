"""One app's session as a state machine: (life, what happened, now) → life.

`SessionState` is all that is known of an app at an instant, and it is what every reader
of the store sees. `next_action` says what to do and `wake_at` when to look again;
expiry is a wake-up of its own, so a token never outlives itself unnoticed while
an attempt is far off.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import Grant, Instant, Method, Timing, Token
from refresherd.domain.timing import backoff, check_at, honoured, refresh_at, spared_until

ALWAYS = Instant(-inf)
NEVER = Instant(inf)

LOGIN_EVERY = 2
"""Of the attempts after a failed renewal every second is a login: reauth alone may be broken."""


class State(StrEnum):
    """What an operator is told of an app."""

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
    """What a refresher has to do now."""

    EXPIRE = "expire"
    ATTEMPT = "attempt"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why and when the last attempt failed."""

    reason: Reason
    message: str
    at: Instant


@dataclass(frozen=True, slots=True)
class SessionState:
    """An app's session.

    `token` is the newest one that DSM has not declared dead; `expired` says that it
    has run out. `dead` says that DSM declared the last one dead, so that outputs drop it.
    `method` is what the next attempt does. `login_at` is the earliest instant of a login:
    a refused credential is spared until then, and a live token is renewed meanwhile.
    `check_at` is when to ask whether the session still lives, None for never. `asked` tells
    that somebody wants the next attempt, which then is not only the schedule's.
    """

    state: State
    next_attempt_at: Instant
    method: Method = Method.AUTH
    token: Token | None = None
    expired: bool = False
    dead: bool = False
    generation: int = 0
    failures: int = 0
    last_failure: Failure | None = None
    last_success_at: Instant | None = None
    login_at: Instant = ALWAYS
    check_at: Instant | None = None
    by_operator: bool = False


def begin(now: Instant, generation: int = 0, *, by_operator: bool = False) -> SessionState:
    """Return the life of an app that has just been started: due at once.

    `generation` is that of its last token, where it had one under other settings. `asked`
    tells that an operator has just configured it.
    """
    return SessionState(
        State.STARTING, next_attempt_at=now, generation=generation, by_operator=by_operator
    )


def succeeding(session: SessionState, generation: int) -> SessionState:
    """Return the life of an app whose last token, in an earlier run, had this generation."""
    return replace(session, generation=generation)


def resumed(token: Token, now: Instant, timing: Timing, rand: float) -> SessionState:
    """Return the life of an app that goes on with a token of an earlier run."""
    renewed_at = Instant(token.expires_at - token.lifetime)
    session = _fresh(begin(now), token, now, timing, rand)
    return replace(session, last_success_at=renewed_at)


def valid_token(session: SessionState, now: Instant) -> Token | None:
    """Return the token that a consumer may be handed now, None if there is none."""
    if session.token is None or session.token.expires_at <= now:
        return None
    return session.token


def expires_at(session: SessionState) -> Instant:
    """Return when the token's expiry is still to be noticed, NEVER if it is not."""
    return NEVER if session.token is None or session.expired else session.token.expires_at


def next_action(session: SessionState, now: Instant, *, busy: bool) -> Action | None:
    """Return what is due now, None if nothing is. Expiry comes first: readers must know.

    While an attempt is under way (`busy`) nothing but the expiry is.
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
    """Return when `next_action` will have something to say, NEVER if it will not."""
    if busy:
        return expires_at(session)
    check_at = NEVER if session.check_at is None else session.check_at
    return min(session.next_attempt_at, check_at, expires_at(session))


def granted(
    session: SessionState, grant: Grant, sent_at: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the life after a new session was granted to a request sent at `sent_at`."""
    token = Token(
        access_token=grant.access_token,
        entity_id=grant.entity_id,
        generation=session.generation + 1,
        issued_at=sent_at,
        lifetime=grant.lifetime,
        expires_at=Instant(sent_at + grant.lifetime),
    )
    return _fresh(session, token, sent_at, timing, rand)


def kept_alive(
    session: SessionState, sent_at: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the life after DSM was told to keep the same session from idling out."""
    if session.token is None:
        raise ValueError("there is no session to keep alive")
    expires_at = Instant(sent_at + session.token.lifetime)
    return _fresh(session, replace(session.token, expires_at=expires_at), sent_at, timing, rand)


def checked(session: SessionState, now: Instant, timing: Timing) -> SessionState:
    """Return the life after a check that found the session alive, or found nothing out."""
    if session.check_at is None:
        return session  # the token ran out meanwhile
    return replace(session, check_at=check_at(now, timing))


def check_failed(
    session: SessionState, error: DsmError, now: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the life after a check that failed: only a session that is dead is news."""
    if isinstance(error, SessionLost) and error.dead:
        return failed(session, error, now, timing, rand)
    return checked(session, now, timing)


def failed(
    session: SessionState, error: DsmError, now: Instant, timing: Timing, rand: float
) -> SessionState:
    """Return the life after an attempt that failed with `error`."""
    dead = session.dead or (isinstance(error, SessionLost) and error.dead)
    known = replace(
        session,
        token=None if dead else session.token,
        dead=dead,
        failures=session.failures + 1,
        last_failure=Failure(error.reason, error.message, now),
    )
    if isinstance(error, Rejected) and session.method is Method.AUTH:
        known = replace(known, login_at=spared_until(error, now, timing))
    again = Instant(now + _wait(known, error, now, timing, rand))
    login_at = now if _unrenewable(session, error) else again
    method, at = _next_attempt(known, now, login_at, again, timing)
    return replace(
        known,
        state=_troubled(known, now),
        method=method,
        next_attempt_at=at,
        check_at=None if valid_token(known, now) is None else session.check_at,
        # A login that follows at once belongs to the attempt that somebody asked for.
        by_operator=session.by_operator and at <= now,
    )


def expired(session: SessionState, now: Instant) -> SessionState:
    """Return the life once its token has run out: only the credential helps from here."""
    return replace(
        session,
        state=_troubled(session, now),
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
        generation=token.generation,
        last_success_at=now,
        login_at=session.login_at,
        check_at=check_at(now, timing),
    )


def _unrenewable(session: SessionState, error: DsmError) -> bool:
    """Return whether DSM will not renew the life's session, so that a login is due at once.

    Never twice in a row: an attempt that was due at once itself waits like any other.
    """
    hurried = (
        session.last_failure is not None and session.next_attempt_at <= session.last_failure.at
    )
    if hurried or isinstance(error, Retryable):
        return False
    return isinstance(error, SessionLost) or session.method is not Method.AUTH


def _next_attempt(
    session: SessionState, now: Instant, login_at: Instant, again: Instant, timing: Timing
) -> tuple[Method, Instant]:
    """Return what follows a failure: a login at `login_at`, or another renewal at `again`."""
    if valid_token(session, now) is None or timing.renew is Method.AUTH:
        return Method.AUTH, max(login_at, session.login_at)
    # Not for keep-alives: their consumers can't read again, so a new token is the last resort.
    in_turn = timing.renew is Method.REAUTH and session.failures % LOGIN_EVERY == 0
    if (in_turn or login_at < again) and session.login_at <= login_at:
        return Method.AUTH, login_at
    return timing.renew, again


def _wait(
    session: SessionState, error: DsmError, now: Instant, timing: Timing, rand: float
) -> float:
    token = valid_token(session, now)
    remaining = None if token is None else token.expires_at - now
    wait = backoff(session.failures, timing, rand, inf if remaining is None else remaining)
    if not isinstance(error, Retryable):
        return wait
    return max(wait, honoured(error.retry_after, remaining))


def _troubled(session: SessionState, now: Instant) -> State:
    if session.login_at > now:
        return State.REJECTED
    if valid_token(session, now) is not None:
        return State.RETRYING
    return State.STARTING if session.generation == 0 else State.EXPIRED
