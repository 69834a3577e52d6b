"""Renders the series of apps as text, without prometheus_client.

Some forty series per app are 400,000 samples at ten thousand apps: prometheus_client takes ten
times as long to render them, and as much memory.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isinf
from typing import TypeAlias

from refresherd.adapters.metrics.observer import AppCounters
from refresherd.adapters.metrics.series import Movable
from refresherd.domain.model import Instant, Token
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import SessionState

Samples: TypeAlias = Iterable[tuple[str, float | str]]
"""For each series, its labels after `app` with the closing brace, and its value."""

BATCH = 64
"""Apps per piece of text, which is then about ten kilobytes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One app at the time of a scrape."""

    counters: AppCounters
    movable: Movable
    report: AppReport
    ready: bool
    offset: float
    """What turns an instant into unix seconds."""

    @property
    def session(self) -> SessionState:
        """The session's state."""
        return self.report.status.session

    @property
    def token(self) -> Token | None:
        """The newest token."""
        return self.report.status.session.token

    def unix(self, instant: Instant | None) -> float | str:
        """Return an instant in unix seconds; 0 for None."""
        if instant is None:
            return 0
        return "+Inf" if isinf(instant) else round(instant + self.offset, 3)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric whose first label is `app`."""

    name: str
    """Without `refresherd_` in front, and without a counter's `_total`."""
    type: str
    help: str
    samples: Callable[[Row], Samples]

    def head(self, *, openmetrics: bool) -> str:
        """Return the lines in front of the samples."""
        name = f"refresherd_{self.name}"
        if self.type == "counter" and not openmetrics:
            # In OpenMetrics, a counter's family lacks the suffix that its samples have.
            name += "_total"
        lines = f"# HELP {name} {self.help}\n# TYPE {name} {self.type}\n"
        # The only unit here. The text format has no line for it.
        return f"{lines}# UNIT {name} seconds\n" if openmetrics and has_seconds(name) else lines


def has_seconds(name: str) -> bool:
    """Return whether a metric's unit is the second, which its name then says."""
    return name.endswith("_seconds")


def render(families: Iterable[Family], rows: Iterable[Row], *, openmetrics: bool) -> Iterator[str]:
    """Yield the text of every family, some apps at a time."""
    labelled = [(row, f'{{app="{escape(row.counters.app.name)}"') for row in rows]
    for family in families:
        sample = f"refresherd_{family.name}{'_total' if family.type == 'counter' else ''}"
        yield family.head(openmetrics=openmetrics)
        for start in range(0, len(labelled), BATCH):
            lines = [
                f"{sample}{label}{tail} {value}\n"
                for row, label in labelled[start : start + BATCH]
                for tail, value in family.samples(row)
            ]
            yield "".join(lines)


def escape(value: str) -> str:
    """Return a label's value as both formats expect it between quotes."""
    # Bytes of a path that are not UTF-8 (PEP 383) must not fail every scrape.
    text = value.encode(errors="replace").decode()
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def tails(labels: tuple[str, ...], series: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what follows `app` for each series, given the names and values of its labels."""
    return tuple(
        "".join(f',{label}="{escape(value)}"' for label, value in zip(labels, values, strict=True))
        + "}"
        for values in series
    )
