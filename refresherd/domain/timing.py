"""When to renew and how long to wait: numbers in, numbers out.

Every `luck` is a random number in [0, 1) that the caller draws. Times in seconds.
"""

from math import inf

from refresherd.domain.errors import LoginSuppressed, Rejected
from refresherd.domain.model import Instant, Timing, Token

NO_TOKEN_RETRY_AFTER = 300.0
"""The longest `Retry-After` obeyed while consumers have no token at all."""

SHORTEST_ATTEMPT = 1.0
"""An attempt gets at least this long, however little of the token's life is left."""

SOONEST_RENEWAL = 1.0
"""Seconds that a token is left alone, whatever the share of its lifetime is that they make."""

LATEST_RENEWAL = 86_400.0
"""Seconds after which a token is renewed, however long it lives: DSM may grant 136 years, and a
session that somebody has ended would never be missed."""


def refresh_at(token: Token, timing: Timing, rand: float) -> Instant:
    """Return when a token is due: at a share of its lifetime, a little earlier by luck.

    Not within a second, or within half of a life that is so short: a DSM that grants a
    second at a time would be asked twenty times in each. And within a day.
    """
    share = timing.at - timing.jitter * rand
    longest = LATEST_RENEWAL * share / timing.at
    rest = max(token.lifetime * (1 - share), token.lifetime - longest)
    return Instant(token.expires_at - min(rest, _longest_rest(token.lifetime)))


def outage_budget(lifetime: float, timing: Timing) -> float:
    """Return how long DSM may be away without a consumer noticing."""
    return min(lifetime * (1 - timing.at), _longest_rest(lifetime))


def backoff(failures: int, timing: Timing, rand: float, remaining: float = inf) -> float:
    """Return the wait after that many failures in a row (1 or more).

    Full jitter between `retry_min` and a ceiling that doubles up to `retry_max`:
    the floor bounds the attempts in any window whatever the luck, the spread keeps
    a fleet from coming back in step. While a token lives, half of what `remaining`
    it has left is the most, so that its last seconds see another attempt.
    """
    doublings = min(failures, 32)
    ceiling = min(timing.retry_max, timing.retry_min * float(1 << doublings), remaining / 2)
    ceiling = max(ceiling, timing.retry_min)
    return timing.retry_min + (ceiling - timing.retry_min) * rand


def honoured(retry_after: float | None, remaining: float | None) -> float:
    """Return how much of a server's `Retry-After` is obeyed.

    `remaining` is what the live token has left, None without one. Obeying an absurd
    wait would let the token run out, so half of what is left is the most.
    """
    if retry_after is None:
        return 0.0
    ceiling = NO_TOKEN_RETRY_AFTER if remaining is None else remaining / 2
    return min(max(retry_after, 0.0), ceiling)


def spared_until(error: Rejected, now: Instant, timing: Timing) -> Instant:
    """Return when a refused credential may be tried again by the schedule."""
    if isinstance(error, LoginSuppressed) and error.until is not None:
        return Instant(error.until)
    return Instant(now + timing.rejected_retry)


def attempt_timeout(timeout: float, remaining: float | None) -> float:
    """Return how long one attempt may take.

    A hanging attempt must leave time for another while the token lives, so it gets
    at most half of what the token has left.
    """
    if remaining is None:
        return timeout
    return min(timeout, max(SHORTEST_ATTEMPT, remaining / 2))


def terminate_at(replaced: Token, now: Instant, grace: float) -> Instant:
    """Return when a replaced session ends: after its grace, never past its expiry."""
    return Instant(min(now + grace, replaced.expires_at))


def _longest_rest(lifetime: float) -> float:
    """Return what is left of a lifetime when it may be renewed at the soonest."""
    return lifetime - min(SOONEST_RENEWAL, lifetime / 2)


def check_at(now: Instant, timing: Timing) -> Instant | None:
    """Return when to ask whether the session still lives, None for never."""
    return None if timing.session_check is None else Instant(now + timing.session_check)
