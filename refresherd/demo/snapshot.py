"""What the daemon's /metrics say of its apps at one moment."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True)
class AppView:
    """One app as its series tell of it. Times are unix seconds, None while there is no token.

    `attempts` counts by method, `failures` by method and reason.
    """

    name: str
    state: str = "starting"
    generation: int = 0
    issued_at: float | None = None
    expires_at: float | None = None
    next_refresh_at: float | None = None
    consecutive_failures: int = 0
    attempts: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def left(self, now: float) -> float | None:
        """Return how many seconds the token has left, None without a valid one."""
        if self.expires_at is None or self.expires_at <= now:
            return None
        return self.expires_at - now

    def next_in(self, now: float) -> float | None:
        """Return in how many seconds the next attempt is due, None if nobody knows."""
        return None if self.next_refresh_at is None else max(0.0, self.next_refresh_at - now)

    @property
    def lifetime(self) -> float | None:
        """How many seconds the newest token lives in all, None without one."""
        if self.expires_at is None or self.issued_at is None:
            return None
        return self.expires_at - self.issued_at

    @property
    def refreshes(self) -> int:
        """How many tokens followed the first one."""
        return max(0, self.generation - 1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every app at `now`, in unix seconds."""

    now: float
    apps: tuple[AppView, ...]

    @property
    def refreshes(self) -> int:
        """How many tokens were replaced."""
        return sum(app.refreshes for app in self.apps)

    @property
    def failures(self) -> int:
        """How many attempts came to nothing."""
        return sum(sum(app.failures.values()) for app in self.apps)

    @property
    def without_token(self) -> tuple[str, ...]:
        """The names of the apps that never got a token."""
        return tuple(app.name for app in self.apps if app.generation == 0)


def parse(text: str, now: float) -> Snapshot:
    """Return what an exposition in Prometheus' text format says of the apps, in its order."""
    # Of hundreds of lines only those of apps are looked at: prometheus_client takes its time.
    lines = [line for line in text.splitlines() if '{app="' in line]
    samples: defaultdict[str, list[Sample]] = defaultdict(list)
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            samples[sample.labels["app"]].append(sample)
    return Snapshot(now, tuple(_app(name, found) for name, found in samples.items()))


def _app(name: str, samples: Sequence[Sample]) -> AppView:
    values = {sample.name: sample.value for sample in samples}
    states = _labelled(samples, "refresherd_app_state")
    attempts = _labelled(samples, "refresherd_refresh_attempts_total")
    failures = _labelled(samples, "refresherd_refresh_failures_total")
    return AppView(
        name=name,
        state=next((sample.labels["state"] for sample in states if sample.value), "starting"),
        generation=int(values.get("refresherd_token_generation", 0)),
        issued_at=_moment(values.get("refresherd_token_issued_timestamp_seconds")),
        expires_at=_moment(values.get("refresherd_token_expiry_timestamp_seconds")),
        next_refresh_at=_moment(values.get("refresherd_next_refresh_timestamp_seconds")),
        consecutive_failures=int(values.get("refresherd_consecutive_failures", 0)),
        attempts={sample.labels["method"]: int(sample.value) for sample in attempts},
        failures={
            (sample.labels["method"], sample.labels["reason"]): int(sample.value)
            for sample in failures
        },
    )


def _labelled(samples: Iterable[Sample], name: str) -> list[Sample]:
    return [sample for sample in samples if sample.name == name]


def _moment(value: float | None) -> float | None:
    """Return a timestamp; the daemon writes 0 for what has not happened yet."""
    return value if value is not None and isfinite(value) and value > 0 else None
