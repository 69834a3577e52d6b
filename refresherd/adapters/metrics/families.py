"""The series that every app has, rendered by hand.

Some fifty series per app are half a million samples at ten thousand apps: prometheus_client takes
1.8 s and 110 MiB to render them, this a tenth of that.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isinf
from typing import TypeAlias

from refresherd.adapters.metrics.observer import SERIES, AppCounters
from refresherd.domain.model import Instant, Token
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import State

Samples: TypeAlias = Iterable[tuple[str, float | str]]
"""What follows `app` among a series' labels, with the closing brace, and the series' value."""

BATCH = 64
"""Apps per piece of text, which is then about ten kilobytes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One app at the time of a scrape."""

    counters: AppCounters
    status: AppStatus
    ready: bool
    offset: float
    """What turns an instant into unix seconds."""

    @property
    def token(self) -> Token | None:
        """The newest token."""
        return self.status.session.token

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


def render(families: Iterable[Family], rows: Iterable[Row], *, openmetrics: bool) -> Iterator[str]:
    """Yield the text of every family, some apps at a time."""
    labelled = [(row, f'{{app="{escape(row.counters.name)}"') for row in rows]
    for family in families:
        name = f"refresherd_{family.name}"
        sample = f"{name}_total" if family.type == "counter" else name
        # In OpenMetrics, a counter's family lacks the suffix that its samples have.
        title = name if openmetrics else sample
        yield f"# HELP {title} {family.help}\n# TYPE {title} {family.type}\n"
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


def _tails(labels: tuple[str, ...], series: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what follows `app` for each series, given the names and values of its labels."""
    return tuple(
        "".join(f',{label}="{escape(value)}"' for label, value in zip(labels, values, strict=True))
        + "}"
        for values in series
    )


def _counter(name: str, text: str, *labels: str) -> Family:
    tails = _tails(labels, SERIES[name])
    return Family(
        name, "counter", text, lambda row: zip(tails, row.counters.counts(name), strict=True)
    )


def _writes(*, failed: bool) -> Callable[[Row], Samples]:
    def samples(row: Row) -> Samples:
        outputs = row.counters.outputs
        counts = [counts[failed] for counts in outputs.values()]
        return zip(_tails(("output",), zip(outputs)), counts, strict=True)

    return samples


def _gauge(name: str, text: str, value: Callable[[Row], float | str]) -> Family:
    return Family(name, "gauge", text, lambda row: (("}", value(row)),))


STATE_TAILS = _tails(("state",), zip(State))


def _states(row: Row) -> Samples:
    states = [int(row.status.session.state is state) for state in State]
    return zip(STATE_TAILS, states, strict=True)


def _certificate(row: Row) -> Samples:
    expires_at = row.counters.certificate_expires_at
    return () if expires_at is None else (("}", expires_at),)


def _last_writes(row: Row) -> Samples:
    written = {output.name: output.written_at for output in row.status.outputs}
    outputs = tuple(row.counters.outputs)
    times = [row.unix(written.get(output)) for output in outputs]
    return zip(_tails(("output",), zip(outputs)), times, strict=True)


# The expiry stays when the token has expired, and is 0 without a token: either way
# `time() > refresherd_token_expiry_timestamp_seconds` means that consumers have no valid token.
FAMILIES = (
    _counter(
        "refresh_attempts", "Attempts to get a session or keep one alive, by method.", "method"
    ),
    _counter(
        "refresh_failures",
        "Failed attempts to get a session or keep one alive, by method and reason.",
        "method",
        "reason",
    ),
    _gauge(
        "token_expiry_timestamp_seconds",
        "When the newest token expires or expired, in unix seconds; 0 without a token.",
        lambda row: row.unix(row.token.expires_at if row.token else None),
    ),
    _gauge(
        "token_issued_timestamp_seconds",
        "When the newest token was requested, in unix seconds; 0 without a token.",
        lambda row: row.unix(row.token.issued_at if row.token else None),
    ),
    _gauge(
        "next_refresh_timestamp_seconds",
        "When the next attempt is due, in unix seconds; +Inf if none is planned.",
        lambda row: row.unix(row.status.session.next_attempt_at),
    ),
    _gauge(
        "last_refresh_success_timestamp_seconds",
        "When an attempt last succeeded, in unix seconds; 0 before the first success.",
        lambda row: row.unix(row.status.session.last_success_at),
    ),
    _gauge(
        "token_generation",
        "Number of the newest token, counting from 1; 0 before the first.",
        lambda row: row.status.session.generation,
    ),
    _gauge(
        "consecutive_failures",
        "Failed attempts since the last success.",
        lambda row: row.status.session.failures,
    ),
    _gauge(
        "app_ready",
        "1 if the app has a valid token and every output holds it, otherwise 0.",
        lambda row: int(row.ready),
    ),
    Family(
        "client_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the app's client certificate expires, in unix seconds; 0 before it was read.",
        _certificate,
    ),
    Family("app_state", "gauge", "1 for the app's current state, 0 for the others.", _states),
    Family("output_writes", "counter", "Tokens written to the output.", _writes(failed=False)),
    Family(
        "output_failures",
        "counter",
        "Failed writes to the output, and alterations of it by others.",
        _writes(failed=True),
    ),
    Family(
        "output_last_write_timestamp_seconds",
        "gauge",
        "When the output's token was written, in unix seconds; 0 if the output holds none.",
        _last_writes,
    ),
    _counter("hook_runs", "Runs of the app's hooks, by result.", "result"),
    _counter("sessions_terminated", "Terminations of replaced sessions, by result.", "result"),
)
