"""How often clients that may only read an app's token can have it renewed before its time.

Each renewal costs a session at DSM, writes of files and runs of hooks. All readers of an app share
its allowance.
"""

from refresherd.domain.model import Instant, Token
from refresherd.domain.timing import LATEST_RENEWAL

AT_ONCE = 3
"""Renewals that readers can cause in a row, such as for a session that another client ended."""

SHARE = 0.1
"""Of a token's lifetime: how long it takes until readers can cause another one."""


def interval(token: Token) -> float:
    """Return how many seconds it takes until readers can cause another renewal."""
    return min(token.lifetime, LATEST_RENEWAL) * SHARE


def allowed_at(whole_at: Instant, seconds: float) -> Instant:
    """Return from when on readers can cause a renewal.

    `whole_at` is when the allowance is whole again, and `seconds` the interval.
    """
    return Instant(whole_at - (AT_ONCE - 1) * seconds)


def used(whole_at: Instant, now: Instant, seconds: float) -> Instant:
    """Return when the allowance is whole again after a renewal now."""
    return Instant(max(whole_at, now) + seconds)
