"""What an operator reads in `systemctl status`: one line, right for as long as it stands there."""

from collections.abc import Collection
from dataclasses import dataclass

from refresherd.domain import readiness
from refresherd.domain.formats import timestamp
from refresherd.domain.model import Instant
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import State
from refresherd.engine.ports import Clock

MOST_APPS = 3
"""Apps in trouble that are named; the others are counted."""

LONGEST_REASON = 160

LONGEST = 800
"""In characters: systemd takes datagrams of 4096 bytes, PIPE_BUF, and shows all of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of one app. `trouble` is "" for none; `served` is readiness."""

    app: str
    served: bool
    trouble: str
    next_at: Instant


def report(status: AppStatus, now: Instant) -> Report:
    """Return what is said of an app."""
    session = status.session
    reasons = readiness.reasons(status, now)
    trouble = "; ".join(reasons)
    if not reasons and session.state is not State.FRESH:
        failure = session.last_failure
        cause = "" if failure is None else f": {failure.reason}: {failure.message}"
        trouble = f"{session.state}{cause}"
    return Report(
        status.name, not reasons, one_line(trouble, LONGEST_REASON), session.next_attempt_at
    )


def summary(reports: Collection[Report], clock: Clock, *, starting: bool, refused: str) -> str:
    """Return the state of all apps in a line.

    Times are dates, since nobody knows when the line is read. `refused` is what is wrong with a
    configuration that was not taken over, "" if nothing is.
    """
    troubled = [one for one in reports if one.trouble]
    parts = [f"{len(reports) - len(troubled)} of {len(reports)} fresh", *_named(troubled)]
    if starting:
        parts[0] = f"starting: {parts[0]}"
    if refused:
        parts.insert(0, f"configuration refused: {one_line(refused, LONGEST_REASON)}")
    next_at = min((one.next_at for one in reports), default=None)
    if next_at is not None:
        soon = clock.wall(max(next_at, clock.now()))
        parts.append(f"next refresh at {timestamp(soon)}")
    return one_line("; ".join(parts), LONGEST)


def one_line(text: str, longest: int) -> str:
    """Return the text without what breaks a line or moves a cursor, and not longer than that."""
    visible = "".join(one if one.isprintable() else " " for one in text)
    return visible if len(visible) <= longest else f"{visible[: longest - 1]}…"


def _named(troubled: list[Report]) -> list[str]:
    named = [f"{one.app}: {one.trouble}" for one in troubled[:MOST_APPS]]
    others = len(troubled) - len(named)
    return [*named, f"and {others} more in trouble"] if others else named
