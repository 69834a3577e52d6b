"""Readers can have a token renewed when they need it, and not for sport."""

from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.model import Instant, Secret, Token
from refresherd.domain.refresh_allowance import AT_ONCE, allowed_at, interval, used


def token(lifetime: float) -> Token:
    """Return a token that lives for so many seconds."""
    return Token(Secret("t"), "", 1, Instant(0), lifetime, Instant(lifetime))


@given(st.lists(st.floats(0, 500), max_size=200), st.floats(1, 1000))
def test_renewals_are_bounded_in_any_window(pauses: list[float], seconds: float) -> None:
    """Each costs a session at DSM, file writes and hooks, whoever asks and however often."""
    now = whole_at = Instant(0)
    granted = []
    for pause in pauses:
        now = Instant(now + pause)
        if allowed_at(whole_at, seconds) <= now:
            whole_at = used(whole_at, now, seconds)
            granted.append(now)
    for first, began in enumerate(granted):
        within = granted[first:]
        for count, at in enumerate(within, 1):
            assert count <= AT_ONCE + (at - began) / seconds + 1e-6


@given(st.floats(1, 10**9))
def test_needing_a_tenth_of_the_lifetime_is_never_refused(lifetime: float) -> None:
    """A reader that always wants nine tenths of a token's life gets them."""
    seconds, now, whole_at = interval(token(min(lifetime, 86_400))), Instant(0), Instant(0)
    for _ in range(20):
        assert allowed_at(whole_at, seconds) <= now
        whole_at, now = used(whole_at, now, seconds), Instant(now + seconds)


def test_a_token_that_lives_for_years_can_be_renewed_several_times_a_day() -> None:
    """A session that somebody ended would otherwise be missed for a tenth of those years."""
    assert interval(token(600)) == 60
    assert interval(token(4294967295)) == 8640
