"""What happened between two snapshots."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from refresherd.demo.snapshot import AppView, Snapshot

WITH_TOKEN = ("fresh", "retrying")
"""The states in which an app has a token that can be renewed; in others it has to log in."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """An app got a new token at `at`, in unix seconds; the rest is as in AppView then."""

    app: str
    method: str
    generation: int
    left: float | None
    next_in: float | None
    at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Attempts of an app came to nothing; `in_a_row` is how many have since the last success."""

    app: str
    reason: str
    in_a_row: int
    left: float | None
    next_in: float | None


@dataclass(frozen=True, slots=True)
class Turned:
    """An app is in another state."""

    app: str
    before: str
    after: str


Change: TypeAlias = Refreshed | Failed | Turned


def changes(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    """Return what happened to each app, in the order in which it must have happened."""
    known = {app.name: app for app in before.apps}
    found: list[Change] = []
    for app in after.apps:
        earlier = known.get(app.name, AppView(app.name))
        failed = tuple(_failed(earlier, app, after.now))
        refreshed = tuple(_refreshed(earlier, app, after.now))
        # A failure that still counts came after the success.
        found += (*refreshed, *failed) if app.consecutive_failures else (*failed, *refreshed)
        if app.state != earlier.state:
            found.append(Turned(app.name, earlier.state, app.state))
    return tuple(found)


def _failed(before: AppView, after: AppView, now: float) -> Iterator[Failed]:
    reasons = _by_reason(after) - _by_reason(before)
    for reason in reasons:
        yield Failed(
            after.name, reason, after.consecutive_failures, after.left(now), after.next_in(now)
        )


def _refreshed(before: AppView, after: AppView, now: float) -> Iterator[Refreshed]:
    if after.generation > before.generation:
        yield Refreshed(
            after.name,
            _method(before, after),
            after.generation,
            after.left(now),
            after.next_in(now),
            now if after.issued_at is None else after.issued_at,
        )


def _method(before: AppView, after: AppView) -> str:
    """Return the method by which there is a new token: the one that more often came to good."""
    succeeded = _successes(after) - _successes(before)
    # It was under way at the time of the earlier snapshot, and so counted there already.
    under_way = "reauth" if before.state in WITH_TOKEN else "auth"
    return next(iter(succeeded), under_way)


def _successes(app: AppView) -> Counter[str]:
    """Count by method; an attempt under way counts as well until it fails."""
    failed: Counter[str] = Counter()
    for (method, _), count in app.failures.items():
        failed[method] += count
    return Counter(app.attempts) - failed


def _by_reason(app: AppView) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for (_, reason), count in app.failures.items():
        reasons[reason] += count
    return reasons
