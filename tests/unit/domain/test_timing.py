"""When to renew and how long to wait, over all numbers that a configuration allows."""

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.errors import LoginSuppressed, Reason, Rejected
from refresherd.domain.model import Instant, Secret, Timing, Token
from refresherd.domain.timing import (
    NO_TOKEN_RETRY_AFTER,
    SHORTEST_ATTEMPT,
    attempt_timeout,
    backoff,
    bounded_retry_after,
    outage_budget,
    refresh_at,
    rejected_until,
    terminate_at,
)

LIFETIMES = st.one_of(st.integers(1, 4_294_967_295).map(float), st.floats(1, 4_294_967_295))
RAND = st.floats(0, 1, exclude_max=True)
NOW = st.floats(0, 1e9)
"""Boot time: up to thirty years without a restart."""

WAITS = st.floats(0, 1e9)


@dataclass(frozen=True, slots=True)
class Share:
    """Legal `at` and `jitter`: renewals fall between the token's issue and its expiry."""

    at: float
    jitter: float

    @property
    def timing(self) -> Timing:
        """The timing with these shares."""
        return Timing(at=self.at, jitter=self.jitter)


@st.composite
def shares(draw: st.DrawFn) -> Share:
    """Draw a legal pair of shares, in thousandths."""
    at = draw(st.integers(1, 999))
    return Share(at / 1000, draw(st.integers(0, at)) / 1000)


@st.composite
def retries(draw: st.DrawFn) -> Timing:
    """Draw legal limits for the backoff."""
    retry_min = draw(st.floats(0.1, 3600))
    return Timing(retry_min=retry_min, retry_max=draw(st.floats(retry_min, 86_400)))


def token(issued_at: float, lifetime: float) -> Token:
    """Return a token that was issued then."""
    expires_at = Instant(issued_at + lifetime)
    return Token(Secret("t"), "", 1, Instant(issued_at), lifetime, expires_at)


@given(NOW, LIFETIMES, shares(), RAND)
def test_a_renewal_is_due_before_expiry_and_not_before_issue(
    issued_at: float, lifetime: float, share: Share, rand: float
) -> None:
    """A renewal at or after expiry is a gap that consumers see; one before issue would spin."""
    due = refresh_at(token(issued_at, lifetime), share.timing, rand)
    assert due < issued_at + lifetime
    assert due >= issued_at - 1e-6 * max(1, lifetime)


@given(NOW, LIFETIMES, shares(), RAND)
def test_the_outage_budget_is_always_left(
    issued_at: float, lifetime: float, share: Share, rand: float
) -> None:
    """The budget that `check` prints is a promise: jitter may only lengthen it."""
    due = refresh_at(token(issued_at, lifetime), share.timing, rand)
    budget = outage_budget(lifetime, share.timing)
    assert issued_at + lifetime - due >= budget - 1e-6 * max(1, lifetime)


@given(LIFETIMES, shares(), RAND)
def test_short_lifetimes_cause_no_hot_loop(lifetime: float, share: Share, rand: float) -> None:
    """A DSM that grants a second at a time is asked twice in it, not as often as `at` says."""
    due = refresh_at(token(0, lifetime), share.timing, rand)
    assert due >= min(1.0, lifetime / 2) - 1e-6 * lifetime


@given(LIFETIMES, shares(), RAND, RAND)
def test_a_larger_random_number_is_never_later(
    lifetime: float, share: Share, one: float, other: float
) -> None:
    """Jitter spreads a fleet towards earlier renewals only."""
    low, high = sorted((one, other))
    live = token(0, lifetime)
    assert refresh_at(live, share.timing, high) <= refresh_at(live, share.timing, low)


@given(shares(), RAND)
def test_a_token_of_136_years_is_renewed_daily(share: Share, rand: float) -> None:
    """Otherwise a session that was ended from outside would never be missed.

    DSM may grant 4294967295 s. A fleet is spread all the same.
    """
    due = refresh_at(token(0, 4294967295.0), share.timing, rand)
    daily = 86_400 * (1 - share.timing.jitter * rand / share.timing.at)
    # Jitter may be all of the share, but a token is left alone for a second.
    assert due == pytest.approx(max(1.0, daily), abs=1e-5)


def test_renewal_is_counted_from_expiry() -> None:
    """A kept-alive session's expiry moves while its issue stays, and renewals move with it."""
    kept = Token(Secret("t"), "", 1, Instant(0), 600.0, Instant(1000))
    assert refresh_at(kept, Timing(at=0.5, jitter=0.0), 0.0) == 700.0
    assert outage_budget(600, Timing()) == 300.0


@given(st.integers(1, 10**9), retries(), RAND)
def test_a_backoff_keeps_its_limits(failures: int, timing: Timing, rand: float) -> None:
    """Below `retry_min` it floods DSM, above `retry_max` it recovers later than promised."""
    wait = backoff(failures, timing, rand)
    assert timing.retry_min <= wait <= timing.retry_max


@given(st.integers(1, 100), st.integers(0, 100), retries(), RAND)
def test_a_backoff_grows_with_the_failures(
    failures: int, more: int, timing: Timing, rand: float
) -> None:
    """During a long outage a fleet must ask less and less often."""
    wait = backoff(failures, timing, rand)
    assert backoff(failures + more, timing, rand) >= wait - 1e-9 * wait


def test_a_backoff_doubles_up_to_its_ceiling() -> None:
    """The default backoff as documented, with the largest random number."""
    timing = Timing(retry_min=1.0, retry_max=30.0)
    waits = [round(backoff(n, timing, 1 - 1e-12)) for n in range(1, 8)]
    assert waits == [2, 4, 8, 16, 30, 30, 30]
    assert backoff(5, timing, 0.0) == 1.0


@given(retries(), st.lists(RAND, min_size=2, max_size=60), st.data())
def test_attempts_in_any_window_are_bounded(
    timing: Timing, rands: list[float], data: st.DataObject
) -> None:
    """Whatever the random numbers, DSM is not asked more often than once per `retry_min`."""
    instants = [0.0]
    for failures, rand in enumerate(rands, start=1):
        instants.append(instants[-1] + backoff(failures, timing, rand))
    start = data.draw(st.floats(0, instants[-1]))
    window = data.draw(st.floats(0, instants[-1]))
    attempts = sum(start <= instant < start + window for instant in instants)
    assert attempts <= window / timing.retry_min * (1 + 1e-9) + 1


@given(st.floats(-1e12, 1e12), st.one_of(st.none(), st.floats(0, 1e10)))
def test_a_retry_after_is_capped(retry_after: float, remaining: float | None) -> None:
    """Obeying an absurd `Retry-After` would leave consumers without a token."""
    wait = bounded_retry_after(retry_after, remaining)
    assert 0 <= wait <= max(retry_after, 0)
    assert wait <= (NO_TOKEN_RETRY_AFTER if remaining is None else remaining / 2)


@pytest.mark.parametrize(
    ("retry_after", "remaining", "wait"),
    [
        (None, None, 0.0),
        (None, 600.0, 0.0),
        (10.0, None, 10.0),
        (10.0, 600.0, 10.0),
        (500.0, 600.0, 300.0),
        (inf, None, 300.0),
        (inf, 600.0, 300.0),
        (-5.0, 600.0, 0.0),
    ],
)
def test_a_retry_after_is_obeyed_within_reason(
    retry_after: float | None, remaining: float | None, wait: float
) -> None:
    """The server's wish is respected up to half of what the token has left."""
    assert bounded_retry_after(retry_after, remaining) == wait


@given(st.floats(0.1, 3600), st.one_of(st.none(), st.floats(0, 1e10)))
def test_a_hanging_attempt_leaves_time_for_another(timeout: float, remaining: float | None) -> None:
    """One hanging connection must not use up the token's life."""
    allowed = attempt_timeout(timeout, remaining)
    assert 0 < allowed <= timeout
    if remaining is None:
        assert allowed == timeout
    else:
        assert allowed <= max(SHORTEST_ATTEMPT, remaining / 2)
        assert allowed >= min(timeout, SHORTEST_ATTEMPT)


def test_a_refused_credential_is_spared() -> None:
    """For the configured time, or until another login is allowed."""
    timing, now = Timing(rejected_retry=60.0), Instant(100)
    assert rejected_until(Rejected(Reason.REJECTED, "401"), now, timing) == 160.0
    assert rejected_until(LoginSuppressed("another was refused"), now, timing) == 160.0
    assert rejected_until(LoginSuppressed("too many have failed", 5000.0), now, timing) == 5000.0


def test_an_attempt_uses_half_of_the_time_that_is_left() -> None:
    """A slow DSM gets time to answer, and another attempt still has its half."""
    assert attempt_timeout(20.0, 30.0) == 15.0
    assert backoff(10, Timing(retry_max=30.0), 1 - 1e-12, 30.0) == pytest.approx(15.0)


@given(NOW, LIFETIMES, WAITS, WAITS)
def test_a_replaced_session_ends_after_its_grace(
    issued_at: float, lifetime: float, age: float, grace: float
) -> None:
    """Consumers keep the old token for its grace; an expired session needs no end."""
    replaced, now = token(issued_at, lifetime), Instant(issued_at + age)
    end = terminate_at(replaced, now, grace)
    last = max(now, replaced.expires_at - min(1.0, 0.05 * lifetime))
    assert now <= end <= last
    assert end in {now + grace, last}
