"""A token's life as a bar: what has passed, what is left, and when the next refresh is due."""

from dataclasses import dataclass
from enum import Enum


class Cell(Enum):
    """What a part of the bar stands for."""

    OVER = "over"
    LEFT = "left"
    BUDGET = "budget"
    """The outage budget: what is left after the latest time of a refresh, should DSM fail."""
    REFRESH = "refresh"
    """Where the next refresh is due."""


@dataclass(frozen=True, slots=True)
class Life:
    """Shares of a token's lifetime: 0 is its issue, and 1 its expiry."""

    now: float
    budget: float
    """Where the outage budget begins."""
    refresh: float | None
    """Where the next refresh is due, None if that is after the expiry, or never."""

    def cells(self, width: int) -> tuple[Cell, ...]:
        """Return a bar of `width` cells, 1 or more."""
        now, budget = round(self.now * width), round(self.budget * width)
        mark = None if self.refresh is None else min(width - 1, int(self.refresh * width))
        return tuple(
            Cell.REFRESH
            if cell == mark
            else Cell.OVER
            if cell < now
            else Cell.BUDGET
            if cell >= budget
            else Cell.LEFT
            for cell in range(width)
        )


def life(
    issued_at: float | None,
    expires_at: float | None,
    next_refresh_at: float | None,
    outage_budget: float | None,
    now: float,
) -> Life | None:
    """Return a token's life, all times being seconds on one clock; None without a token."""
    if issued_at is None or expires_at is None or expires_at <= issued_at:
        return None
    lifetime = expires_at - issued_at

    def share(seconds: float) -> float:
        return min(1.0, max(0.0, seconds / lifetime))

    refresh = None
    if next_refresh_at is not None and next_refresh_at < expires_at:
        refresh = share(max(next_refresh_at, now) - issued_at)
    return Life(
        now=share(now - issued_at), budget=1.0 - share(outage_budget or 0.0), refresh=refresh
    )
