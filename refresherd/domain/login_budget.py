"""When a login may be sent, so that a refused credential is never reset by DSM.

In FIPS mode DSM resets an app's secret after 100 failed API-key logins within 24 hours, by
whichever client. Times in seconds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from refresherd.domain.model import Instant

DAY = 86_400.0

MARGIN = 600.0
"""DSM counts a login at some time between its request and our record, by a clock of its own."""

WINDOW = DAY + MARGIN
"""How long a failed login counts."""

MAX_REFUSALS = 50
"""Logins that may fail within a window, the operator's included: half of DSM's limit."""

MAX_SCHEDULED = 40
"""How many of these the schedule may make. Only an operator can cause the others."""

BURST = 10
"""Logins that may fail in a row before they are spaced."""

SPACING = WINDOW / (MAX_SCHEDULED - BURST)
"""Between logins once they are spaced: some 48 minutes."""

FIRST_RETRY = 30.0
"""The spacing where none of the failed logins was refused, but all were interrupted. It doubles
with each that is interrupted as well. If the daemon is restarted while DSM hangs, a good key must
not be held back for longer than DSM hangs."""

ASSUMED_FAILURES = MAX_REFUSALS // 2
"""Failures assumed of a credential whose record was lost. They hold back no good key, and keep a
wrong one below DSM's limit even if `MAX_REFUSALS` had failed before."""

NEVER_YET = Instant(-inf)


@dataclass(frozen=True, slots=True)
class History:
    """A credential's failed logins, oldest first."""

    refused: tuple[Instant, ...] = ()
    """When DSM refused the credential."""
    interrupted: tuple[Instant, ...] = ()
    """Logins whose answer nobody saw, since the app's task or the daemon ended. They count as
    refused until DSM accepts the credential."""
    accepted_at: Instant = NEVER_YET
    """When DSM last accepted the credential."""

    @property
    def failed(self) -> tuple[Instant, ...]:
        """When the failed logins that still count took place, oldest first."""
        return tuple(sorted((*self.refused, *self.interrupted)))


def assumed(now: Instant) -> History:
    """Return the history that is assumed for a credential whose record was lost."""
    return History(interrupted=(Instant(now - SPACING),) * ASSUMED_FAILURES)


def refused(history: History, at: Instant) -> History:
    """Return the history after DSM refused the credential."""
    return replace(history, refused=(*history.refused, at))


def interrupted(history: History, at: Instant) -> History:
    """Return the history after a login whose answer nobody will see."""
    return replace(history, interrupted=(*history.interrupted, at))


def accepted(history: History, at: Instant) -> History:
    """Return the history after DSM accepted the credential: no interrupted login had failed."""
    return replace(history, interrupted=(), accepted_at=at)


def recent(history: History, now: Instant) -> History:
    """Return the history without failures that no longer count."""
    return replace(
        history,
        refused=_recent(history.refused, now),
        interrupted=_recent(history.interrupted, now),
    )


def allowed_at(history: History, now: Instant, *, by_operator: bool) -> Instant:
    """Return when the next login may begin, which is `now` unless too many have failed.

    1. At most `MAX_REFUSALS` fail in a window, an operator's included, who has no other limit.
    2. After `BURST` failures the schedule's logins are spaced.
    3. At most `MAX_SCHEDULED` of the schedule's logins fail in a window.

    Failures before DSM last accepted the credential count for the first rule only: a key that was
    repaired does not have to wait for its past.
    """
    limited = _aged(history.failed, MAX_REFUSALS, WINDOW)
    if by_operator:
        return max(now, limited)
    since = _since_accepted(history)
    spacing = SPACING
    if not history.refused or history.refused[-1] <= history.accepted_at:
        doublings = min(max(0, len(since) - BURST), MAX_REFUSALS)
        spacing = min(SPACING, FIRST_RETRY * float(1 << doublings))
    spaced = min(_aged(since, BURST, WINDOW), _aged(since, 1, spacing))
    return max(now, limited, spaced, _aged(since, MAX_SCHEDULED, WINDOW))


def slots(history: History, now: Instant, *, patient: bool) -> int:
    """Return how many logins with the credential may be under way at once.

    While it is not known to be good, one login finds out for all apps that share it. Apps that are
    not `patient` any more, since that login is not answered, need not wait for it. All together
    never exceed `MAX_REFUSALS` if every one fails.
    """
    since = _recent(_since_accepted(history), now)
    if history.accepted_at > NEVER_YET and not since:
        usual = BURST
    else:
        usual = 1 if patient else max(1, BURST - len(since))
    return min(usual, MAX_REFUSALS - len(_recent(history.failed, now)))


def _since_accepted(history: History) -> tuple[Instant, ...]:
    failed = history.failed
    return failed[bisect_right(failed, history.accepted_at) :]


def _aged(failed: Sequence[Instant], number: int, age: float) -> Instant:
    """Return when the failure that is the `number`th from the end reaches an age."""
    return Instant(failed[-number] + age) if len(failed) >= number else NEVER_YET


def _recent(failed: Sequence[Instant], now: Instant) -> tuple[Instant, ...]:
    return tuple(at for at in failed if at + WINDOW > now)
