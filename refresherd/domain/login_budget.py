"""How often DSM may be asked with a credential that it refuses: instants in, an instant out.

DSM in FIPS mode resets an app's secret after 100 failed API-key logins within 24 hours,
whoever made them. Times in seconds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from refresherd.domain.model import Instant

DAY = 86_400.0

MARGIN = 600.0
"""DSM counts a login somewhere between its request and our record, and by a clock of its own."""

WINDOW = DAY + MARGIN
"""For so long a failed login counts."""

MOST = 50
"""So many logins may fail in a window, whoever asks for another: half of what DSM bears."""

SCHEDULED = 40
"""After so many only an operator has another made."""

FREE = 10
"""So many may fail before they are spaced."""

SPACING = WINDOW / (SCHEDULED - FREE)
"""How far apart logins are once too many have failed: some 48 minutes."""

PROBE = 30.0
"""Where DSM has refused none of those, but all were cut off, the next may come after so many
seconds, and each time that is cut off as well after twice as long. A DSM that hangs while the
daemon is restarted must not shut out a good key for longer than that DSM does."""

ASSUMED = MOST // 2
"""So many are taken to have failed where the record was lost: a good key is not shut out by that,
and a wrong one does not reach DSM's limit, even if `MOST` had failed before."""

NEVER_YET = Instant(-inf)


@dataclass(frozen=True, slots=True)
class History:
    """A credential's failed logins: the instants of DSM's refusals, oldest first.

    `cut_off` are logins whose answer nobody saw, since what made them was ended: they count as
    refused until DSM takes the credential. `good_at` is when it last did.
    """

    refused: tuple[Instant, ...] = ()
    cut_off: tuple[Instant, ...] = ()
    good_at: Instant = NEVER_YET

    @property
    def failed(self) -> tuple[Instant, ...]:
        """The instants of all that count as refused, oldest first."""
        return tuple(sorted((*self.refused, *self.cut_off)))


def unknown(now: Instant) -> History:
    """Return what is taken for the history of a credential whose record was lost."""
    return History(cut_off=(Instant(now - SPACING),) * ASSUMED)


def refused(history: History, at: Instant) -> History:
    """Return the history after DSM refused the credential."""
    return replace(history, refused=(*history.refused, at))


def cut_off(history: History, at: Instant) -> History:
    """Return the history after a login whose answer nobody will see."""
    return replace(history, cut_off=(*history.cut_off, at))


def good(history: History, at: Instant) -> History:
    """Return the history after DSM took the credential: what was cut off had not failed."""
    return replace(history, cut_off=(), good_at=at)


def recent(history: History, now: Instant) -> History:
    """Return the history without what counts no more."""
    refusals, others = _recent(history.refused, now), _recent(history.cut_off, now)
    return replace(history, refused=refusals, cut_off=others)


def allowed_at(history: History, now: Instant, *, by_operator: bool) -> Instant:
    """Return when the next login may begin, which is `now` unless too many have failed.

    `asked` tells that an operator wants it. What failed before DSM last took the credential
    counts towards `MOST` only: a key that was mended is not made to wait for its past.
    """
    hard = _past(history.failed, MOST, WINDOW)
    if by_operator:
        return max(now, hard)
    since = _since_good(history)
    spaced = min(_past(since, FREE, WINDOW), _past(since, 1, _spacing(history, len(since))))
    return max(now, hard, spaced, _past(since, SCHEDULED, WINDOW))


def places(history: History, now: Instant, *, patient: bool) -> int:
    """Return how many logins with the credential may be under way at once.

    One finds out for all whether it is good. Where that one is not answered others go ahead
    that are not `patient` any more. None is left that could fail beyond `MOST`.
    """
    since = _recent(_since_good(history), now)
    if history.good_at > NEVER_YET and not since:
        usual = FREE
    else:
        usual = 1 if patient else max(1, FREE - len(since))
    return min(usual, MOST - len(_recent(history.failed, now)))


def _spacing(history: History, failed: int) -> float:
    """Return how far apart logins are after so many since DSM last took the credential."""
    if history.refused and history.refused[-1] > history.good_at:
        return SPACING
    return min(SPACING, PROBE * float(1 << min(max(0, failed - FREE), MOST)))


def _since_good(history: History) -> tuple[Instant, ...]:
    failed = history.failed
    return failed[bisect_right(failed, history.good_at) :]


def _past(failed: Sequence[Instant], number: int, wait: float) -> Instant:
    """Return when the failure that is the `number`th from the end will be `wait` seconds old."""
    return Instant(failed[-number] + wait) if len(failed) >= number else NEVER_YET


def _recent(failed: Sequence[Instant], now: Instant) -> tuple[Instant, ...]:
    return tuple(at for at in failed if at + WINDOW > now)
