"""The line in `systemctl status`, which must stay true for as long as it is shown."""

from collections.abc import Collection
from dataclasses import dataclass

from refresherd.domain import readiness
from refresherd.domain.formats import timestamp
from refresherd.domain.model import Instant
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import State
from refresherd.engine.ports import Clock

MAX_APPS = 3
"""Apps in trouble that are named; further ones are counted."""

MAX_REASON = 160

MAX_LINE = 800
"""Characters; systemd accepts datagrams of 4096 bytes (PIPE_BUF) and shows all of the line."""


@dataclass(frozen=True, slots=True)
class Report:
    """The part of the line about one app."""

    app: str
    served: bool
    """Whether the app is ready."""
    trouble: str
    """What is wrong; "" for nothing."""
    next_at: Instant


def report(status: AppStatus, now: Instant) -> Report:
    """Return the report on an app."""
    session = status.session
    reasons = readiness.reasons(status, now)
    trouble = "; ".join(reasons)
    if not reasons and session.state is not State.FRESH:
        failure = session.last_failure
        cause = "" if failure is None else f": {failure.reason}: {failure.message}"
        trouble = f"{session.state}{cause}"
    return Report(status.name, not reasons, one_line(trouble, MAX_REASON), session.next_attempt_at)


def summary(reports: Collection[Report], clock: Clock, *, starting: bool, refused: str) -> str:
    """Return the state of all apps in one line.

    Times are dates, since nobody knows when the line is read. `refused` is the fault for which a
    new configuration was refused, "" if none was.
    """
    troubled = [one for one in reports if one.trouble]
    parts = [f"{len(reports) - len(troubled)} of {len(reports)} fresh", *_named(troubled)]
    if starting:
        parts[0] = f"starting: {parts[0]}"
    if refused:
        parts.insert(0, f"configuration refused: {one_line(refused, MAX_REASON)}")
    next_at = min((one.next_at for one in reports), default=None)
    if next_at is not None:
        parts.append(f"next refresh at {timestamp(clock.wall(max(next_at, clock.now())))}")
    return one_line("; ".join(parts), MAX_LINE)


def one_line(text: str, longest: int) -> str:
    """Return the text without line breaks and control characters, cut to a length."""
    visible = "".join(one if one.isprintable() else " " for one in text)
    return visible if len(visible) <= longest else f"{visible[: longest - 1]}…"


def _named(troubled: list[Report]) -> list[str]:
    named = [f"{one.app}: {one.trouble}" for one in troubled[:MAX_APPS]]
    others = len(troubled) - len(named)
    return [*named, f"and {others} more in trouble"] if others else named
