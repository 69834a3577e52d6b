"""The demo in words: times, a line for each change, and the summary."""

from typing import assert_never

from refresherd.demo.changes import Change, Failed, Refreshed, Turned
from refresherd.demo.picture import Picture

MINUTE = 60
HOUR = 3600
TENTHS_BELOW = 100.0
"""Seconds below which their tenths matter to somebody who watches."""

METHODS = {"auth": "login"}
"""What people call the methods, where it is another word than the label."""


def span(seconds: float | None) -> str:
    """Return a time as `9.3 s`, `9m 58s` or `2h 05m`, a dash for None."""
    if seconds is None:
        return "-"
    if seconds < TENTHS_BELOW:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE}m {whole % MINUTE:02d}s"
    return f"{whole // HOUR}h {whole % HOUR // MINUTE:02d}m"


def ago(seconds: float) -> str:
    """Return how long something was ago; its tenths would only be unrest."""
    return f"{max(0, int(seconds))} s ago" if seconds < TENTHS_BELOW else f"{span(seconds)} ago"


def method(label: str) -> str:
    """Return what people call a method."""
    return METHODS.get(label, label)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return `1 app` or `2 apps`; `nouns` is for a plural that is more than an s."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def line(elapsed: float, change: Change) -> str:
    """Return the line for a change that was seen `elapsed` seconds after the start."""
    return f"{elapsed:6.1f} s  {change.app}: {_event(change)}"


def _event(change: Change) -> str:
    match change:
        case Refreshed():
            return (
                f"token {change.generation} by {method(change.method)}, good for "
                f"{span(change.left)}; next refresh in {span(change.next_in)}"
            )
        case Failed(reason=reason, left=None):
            return f"failed ({reason}), no valid token; next attempt in {span(change.next_in)}"
        case Failed():
            return (
                f"failed ({change.reason}), token still good for {span(change.left)}; "
                f"next attempt in {span(change.next_in)}"
            )
        case Turned():
            return f"{change.before} -> {change.after}"
        case _:
            assert_never(change)


def summary(picture: Picture) -> str:
    """Return what came of it all."""
    snapshot, reads = picture.snapshot, picture.reads
    lines = [
        f"summary after {span(picture.elapsed)}",
        f"  apps       {len(snapshot.apps)}",
        f"  refreshes  {snapshot.refreshes}",
        f"  failures   {snapshot.failures}",
        f"  reads      {reads.total} by the built-in consumer, {reads.refused} refused by DSM",
    ]
    if snapshot.without_token:
        lines.append(f"  no token   {', '.join(snapshot.without_token)}")
    return "\n".join(lines)
