"""One app's session as a state machine: (life, what happened, now) → life.

`Life` is all that is known of an app at an instant, and it is what every reader
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
class Life:
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
    asked: bool = False


def begin(now: Instant, generation: int = 0, *, asked: bool = False) -> Life:
    """Return the life of an app that has just been started: due at once.

    `generation` is that of its last token, where it had one under other settings. `asked`
    tells that an operator has just configured it.
    """
    return Life(State.STARTING, next_attempt_at=now, generation=generation, asked=asked)


def succeeding(life: Life, generation: int) -> Life:
    """Return the life of an app whose last token, in an earlier run, had this generation."""
    return replace(life, generation=generation)


def resumed(token: Token, now: Instant, timing: Timing, luck: float) -> Life:
    """Return the life of an app that goes on with a token of an earlier run."""
    renewed_at = Instant(token.expires_at - token.lifetime)
    life = _fresh(begin(now), token, now, timing, luck)
    return replace(life, last_success_at=renewed_at)


def valid_token(life: Life, now: Instant) -> Token | None:
    """Return the token that a consumer may be handed now, None if there is none."""
    if life.token is None or life.token.expires_at <= now:
        return None
    return life.token


def expires_at(life: Life) -> Instant:
    """Return when the token's expiry is still to be noticed, NEVER if it is not."""
    return NEVER if life.token is None or life.expired else life.token.expires_at


def next_action(life: Life, now: Instant, *, busy: bool) -> Action | None:
    """Return what is due now, None if nothing is. Expiry comes first: readers must know.

    While an attempt is under way (`busy`) nothing but the expiry is.
    """
    if expires_at(life) <= now:
        return Action.EXPIRE
    if busy:
        return None
    if life.next_attempt_at <= now:
        return Action.ATTEMPT
    if life.check_at is not None and life.check_at <= now:
        return Action.CHECK
    return None


def wake_at(life: Life, *, busy: bool) -> Instant:
    """Return when `next_action` will have something to say, NEVER if it will not."""
    if busy:
        return expires_at(life)
    check_at = NEVER if life.check_at is None else life.check_at
    return min(life.next_attempt_at, check_at, expires_at(life))


def granted(life: Life, grant: Grant, sent_at: Instant, timing: Timing, luck: float) -> Life:
    """Return the life after a new session was granted to a request sent at `sent_at`."""
    token = Token(
        access_token=grant.access_token,
        entity_id=grant.entity_id,
        generation=life.generation + 1,
        issued_at=sent_at,
        lifetime=grant.lifetime,
        expires_at=Instant(sent_at + grant.lifetime),
    )
    return _fresh(life, token, sent_at, timing, luck)


def kept_alive(life: Life, sent_at: Instant, timing: Timing, luck: float) -> Life:
    """Return the life after DSM was told to keep the same session from idling out."""
    if life.token is None:
        raise ValueError("there is no session to keep alive")
    expires_at = Instant(sent_at + life.token.lifetime)
    return _fresh(life, replace(life.token, expires_at=expires_at), sent_at, timing, luck)


def checked(life: Life, now: Instant, timing: Timing) -> Life:
    """Return the life after a check that found the session alive, or found nothing out."""
    if life.check_at is None:
        return life  # the token ran out meanwhile
    return replace(life, check_at=check_at(now, timing))


def check_failed(life: Life, error: DsmError, now: Instant, timing: Timing, luck: float) -> Life:
    """Return the life after a check that failed: only a session that is dead is news."""
    if isinstance(error, SessionLost) and error.dead:
        return failed(life, error, now, timing, luck)
    return checked(life, now, timing)


def failed(life: Life, error: DsmError, now: Instant, timing: Timing, luck: float) -> Life:
    """Return the life after an attempt that failed with `error`."""
    dead = life.dead or (isinstance(error, SessionLost) and error.dead)
    known = replace(
        life,
        token=None if dead else life.token,
        dead=dead,
        failures=life.failures + 1,
        last_failure=Failure(error.reason, error.message, now),
    )
    if isinstance(error, Rejected) and life.method is Method.AUTH:
        known = replace(known, login_at=spared_until(error, now, timing))
    again = Instant(now + _wait(known, error, now, timing, luck))
    login_at = now if _unrenewable(life, error) else again
    method, at = _next_attempt(known, now, login_at, again, timing)
    return replace(
        known,
        state=_troubled(known, now),
        method=method,
        next_attempt_at=at,
        check_at=None if valid_token(known, now) is None else life.check_at,
        # A login that follows at once belongs to the attempt that somebody asked for.
        asked=life.asked and at <= now,
    )


def expired(life: Life, now: Instant) -> Life:
    """Return the life once its token has run out: only the credential helps from here."""
    return replace(
        life,
        state=_troubled(life, now),
        expired=True,
        method=Method.AUTH,
        next_attempt_at=max(life.next_attempt_at, life.login_at),
        check_at=None,
    )


def _fresh(life: Life, token: Token, now: Instant, timing: Timing, luck: float) -> Life:
    return Life(
        State.FRESH,
        next_attempt_at=refresh_at(token, timing, luck),
        method=timing.renew,
        token=token,
        generation=token.generation,
        last_success_at=now,
        login_at=life.login_at,
        check_at=check_at(now, timing),
    )


def _unrenewable(life: Life, error: DsmError) -> bool:
    """Return whether DSM will not renew the life's session, so that a login is due at once.

    Never twice in a row: an attempt that was due at once itself waits like any other.
    """
    hurried = life.last_failure is not None and life.next_attempt_at <= life.last_failure.at
    if hurried or isinstance(error, Retryable):
        return False
    return isinstance(error, SessionLost) or life.method is not Method.AUTH


def _next_attempt(
    life: Life, now: Instant, login_at: Instant, again: Instant, timing: Timing
) -> tuple[Method, Instant]:
    """Return what follows a failure: a login at `login_at`, or another renewal at `again`."""
    if valid_token(life, now) is None or timing.renew is Method.AUTH:
        return Method.AUTH, max(login_at, life.login_at)
    # Not for keep-alives: their consumers can't read again, so a new token is the last resort.
    in_turn = timing.renew is Method.REAUTH and life.failures % LOGIN_EVERY == 0
    if (in_turn or login_at < again) and life.login_at <= login_at:
        return Method.AUTH, login_at
    return timing.renew, again


def _wait(life: Life, error: DsmError, now: Instant, timing: Timing, luck: float) -> float:
    token = valid_token(life, now)
    remaining = None if token is None else token.expires_at - now
    wait = backoff(life.failures, timing, luck, inf if remaining is None else remaining)
    if not isinstance(error, Retryable):
        return wait
    return max(wait, honoured(error.retry_after, remaining))


def _troubled(life: Life, now: Instant) -> State:
    if life.login_at > now:
        return State.REJECTED
    if valid_token(life, now) is not None:
        return State.RETRYING
    return State.STARTING if life.generation == 0 else State.EXPIRED
