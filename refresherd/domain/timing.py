"""When to renew and how long to wait. Times in seconds.

Every `rand` is a random number in [0, 1) that the caller draws.
"""

from math import inf

from refresherd.domain.errors import LoginSuppressed, Rejected
from refresherd.domain.model import Instant, Timing, Token

NO_TOKEN_RETRY_AFTER = 300.0
"""The longest `Retry-After` that is obeyed while consumers have no token at all."""

SHORTEST_ATTEMPT = 1.0
"""An attempt gets at least this long, however soon the token expires."""

SOONEST_RENEWAL = 1.0
"""A token is renewed after this time at the earliest, whatever share of its lifetime that is."""

LATEST_RENEWAL = 86_400.0
"""A token is renewed after this time at the latest, however long it lives: DSM may grant 136 years,
and a session that somebody ended would never be missed."""

LONGEST_AHEAD, SHARE_AHEAD = 1.0, 0.05
"""How long before its expiry a session is terminated at the latest: the lesser of these seconds and
this share of its lifetime."""

SHRUNK = 2 / 3
"""The share of the longest lifetime below which a reauth's grant counts as shortened."""


def refresh_at(token: Token, timing: Timing, rand: float) -> Instant:
    """Return when a token is due: after a share of its lifetime, less a random part of `jitter`.

    Not before SOONEST_RENEWAL, or half of an even shorter lifetime: if DSM grants a second at a
    time, it must not be asked twenty times in each. Not after LATEST_RENEWAL.
    """
    share = timing.at - timing.jitter * rand
    longest = LATEST_RENEWAL * share / timing.at
    rest = max(token.lifetime * (1 - share), token.lifetime - longest)
    return Instant(token.expires_at - min(rest, _longest_rest(token.lifetime)))


def nears_maximum(lifetime: float, longest: float) -> bool:
    """Return whether a reauth granted a shorter lifetime because the session nears a maximum age.

    `longest` is the longest lifetime that a reauth has granted since the last login, 0 if none has.
    The login's own grant does not count: DSM may always grant a login more. The first shortened
    grant still lasts at least as long as the token that it replaces had left, so consumers keep a
    useful token until the login.
    """
    return lifetime < min(longest * SHRUNK, longest - 1.0)


def outage_budget(lifetime: float, timing: Timing) -> float:
    """Return how long DSM may be unreachable before consumers notice."""
    return min(lifetime * (1 - timing.at), _longest_rest(lifetime))


def check_at(now: Instant, timing: Timing) -> Instant | None:
    """Return when to check whether the session is still alive, None for never."""
    return None if timing.session_check is None else Instant(now + timing.session_check)


def backoff(failures: int, timing: Timing, rand: float, remaining: float = inf) -> float:
    """Return the wait after that many failures in a row (1 or more).

    Full jitter between `retry_min` and a ceiling that doubles up to `retry_max`. The floor bounds
    the attempts in any window, the jitter keeps a fleet from retrying in step. While a token is
    valid, half of its `remaining` life is the ceiling, so that it sees another attempt.
    """
    doublings = min(failures, 32)
    ceiling = min(timing.retry_max, timing.retry_min * float(1 << doublings), remaining / 2)
    ceiling = max(ceiling, timing.retry_min)
    return timing.retry_min + (ceiling - timing.retry_min) * rand


def bounded_retry_after(retry_after: float | None, remaining: float | None) -> float:
    """Return how much of a server's `Retry-After` to obey.

    `remaining` is the life that the current token has left, None without one. At most half of it
    is waited, since to obey an absurd wait would let the token expire.
    """
    if retry_after is None:
        return 0.0
    ceiling = NO_TOKEN_RETRY_AFTER if remaining is None else remaining / 2
    return min(max(retry_after, 0.0), ceiling)


def rejected_until(error: Rejected, now: Instant, timing: Timing) -> Instant:
    """Return when the schedule may try a refused credential again."""
    if isinstance(error, LoginSuppressed) and error.until is not None:
        return Instant(error.until)
    return Instant(now + timing.rejected_retry)


def attempt_timeout(timeout: float, remaining: float | None) -> float:
    """Return how long one attempt may take: at most half of what the token has left.

    A hanging attempt must leave time for another while the token is valid.
    """
    if remaining is None:
        return timeout
    return min(timeout, max(SHORTEST_ATTEMPT, remaining / 2))


def terminate_at(replaced: Token, now: Instant, grace: float) -> Instant:
    """Return when to terminate a replaced session: after its grace, but before its expiry.

    At its expiry DSM may have ended it, and would answer 401; or it counts from the last use, and
    the session would live on for nothing.
    """
    ahead = min(LONGEST_AHEAD, replaced.lifetime * SHARE_AHEAD)
    return Instant(max(now, min(now + grace, replaced.expires_at - ahead)))


def _longest_rest(lifetime: float) -> float:
    """Return what is left of a lifetime at the earliest time of a renewal."""
    return lifetime - min(SOONEST_RENEWAL, lifetime / 2)
