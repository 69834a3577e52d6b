"""Verdicts as a table in Markdown."""

from collections.abc import Iterable

from faults.readers import Seen
from faults.verdict import Verdict

COLUMNS = (
    "fault",
    "duration",
    "refreshes",
    "reads",
    "without a token",
    "expired reads",
    "torn reads",
    "attempts",
    "recovery time",
    "verdict",
)


def table(verdicts: Iterable[Verdict]) -> str:
    """Return the table, a row for each verdict."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(_row(verdict) for verdict in verdicts)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(verdict: Verdict) -> tuple[str, ...]:
    return (
        f"`{verdict.fault}` {verdict.length}",
        f"{verdict.seconds:.1f} s",
        str(verdict.refreshes),
        str(verdict.count(*Seen)),
        str(verdict.count(Seen.NONE)),
        str(verdict.count(Seen.EXPIRED)),
        str(verdict.count(Seen.TORN)),
        str(verdict.attempts),
        "never" if verdict.recovery is None else f"{verdict.recovery:.1f} s",
        "; ".join(verdict.complaints) or "kept",
    )
