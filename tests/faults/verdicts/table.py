"""Verdicts as a table in Markdown."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from faults.rig.readers import Seen
from faults.verdicts.verdict import Verdict

COLUMNS = (
    "fault",
    "times",
    "duration",
    "refreshes",
    "reads",
    "without a token",
    "expired reads",
    "torn reads",
    "attempts",
    "recovery",
    "verdict",
)


def table(verdicts: Iterable[Verdict], *, heading: bool = True) -> str:
    """Return the table, one row for each fault and length."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)] if heading else []
    rows += [_row(verdict) for verdict in merged(verdicts)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def merged(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return one verdict for each fault and length, with the slowest recovery."""
    found: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts:
        key, judged = (verdict.fault, verdict.length), _judged(verdict)
        found[key] = _both(found[key], judged) if key in found else judged
    return list(found.values())


def total(verdicts: Iterable[Verdict]) -> Verdict:
    """Return one verdict that sums up all trials, with the slowest recovery."""
    (found,) = merged(replace(one, fault="all", length="together") for one in verdicts)
    return found


def _both(one: Verdict, other: Verdict) -> Verdict:
    never = one.recovery is None or other.recovery is None
    return replace(
        one,
        seconds=max(one.seconds, other.seconds),
        times=one.times + other.times,
        refreshes=one.refreshes + other.refreshes,
        seen=Counter(one.seen) + other.seen,
        attempts=one.attempts + other.attempts,
        recovery=None if never else max(one.recovery or 0.0, other.recovery or 0.0),
        complaints=one.complaints + other.complaints,
        spoilt=one.spoilt + other.spoilt,
    )


def _row(verdict: Verdict) -> tuple[str, ...]:
    return (
        f"`{verdict.fault}`, {verdict.length}",
        str(verdict.times),
        f"{verdict.seconds:.0f} s",
        str(verdict.refreshes),
        str(verdict.count(*Seen)),
        str(verdict.count(Seen.NONE)),
        str(verdict.count(Seen.EXPIRED)),
        str(verdict.count(Seen.TORN)),
        str(verdict.attempts),
        "never" if verdict.recovery is None else f"{verdict.recovery:.1f} s",
        _judgement(verdict),
    )


def _judged(verdict: Verdict) -> Verdict:
    """Return a verdict to be added up: what a busy machine has spoilt is only counted."""
    if verdict.proven:
        return replace(verdict, looks=())
    return replace(verdict, looks=(), complaints=(), spoilt=1)


def _judgement(verdict: Verdict) -> str:
    parts = list(verdict.complaints)
    if verdict.spoilt:
        parts.append(f"{verdict.spoilt} not proven: the machine was too busy")
    return "; ".join(parts) or "kept"
