"""What the status page shows besides apps: how fast DSM answers, and how the last reload went."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from statistics import median

from refresherd.domain import events
from refresherd.domain.errors import Reason
from refresherd.domain.events import Event
from refresherd.domain.model import Instant
from refresherd.engine.ports import Clock

REMEMBERED = 100
"""Durations remembered for each endpoint."""

MAX_ENDPOINTS = 1000

MAX_FAULTS = 20
"""How many faults of a refused configuration are remembered."""

SAME_RELOAD_SECONDS = 0.05
"""Faults that are reported within this time belong to the same reload."""


@dataclass(frozen=True, slots=True)
class EndpointFailure:
    """The last failed attempt at an endpoint."""

    reason: Reason
    message: str
    app: str
    at: Instant


@dataclass(slots=True)
class EndpointRecord:
    """The attempts at one endpoint since the start."""

    durations: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """Of the latest successful requests, in seconds."""
    successes: int = 0
    failures: int = 0
    last_failure: EndpointFailure | None = None

    def quantiles(self) -> tuple[float, float, float] | None:
        """Return median, 95th percentile and maximum in seconds, None without any duration."""
        durations = sorted(self.durations.copy())
        if not durations:
            return None
        return median(durations), durations[ceil(0.95 * len(durations)) - 1], durations[-1]


@dataclass(frozen=True, slots=True)
class Reload:
    """The last reload."""

    at: Instant
    faults: tuple[str, ...] = ()
    """Why the new configuration was refused; () if it is in force."""
    changed: int = 0
    """How many apps it started, stopped or changed."""


class Recent:
    """An Observer that remembers the latest events. Safe to read in any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.endpoints: dict[str, EndpointRecord] = {}
        """By URL."""
        self.started = events.Started("", 0)
        """Where the daemon listens, and its configuration's path."""
        self.started_at = clock.now()
        self.reload: Reload | None = None
        """None before the first."""
        self.web_config_faults: tuple[str, ...] = ()
        """Why the web configuration was refused when it was last read."""

    def observe(self, event: Event) -> None:
        """Remember the event if the status page shows it."""
        match event:
            case events.Renewed(_, endpoint, _, duration):
                record = self._record(endpoint)
                record.successes += 1
                record.durations.append(duration)
            case events.AttemptFailed(app, endpoint, _, reason, message):
                if reason is not Reason.CREDENTIAL:  # no request was sent
                    record = self._record(endpoint)
                    record.failures += 1
                    failure = EndpointFailure(reason, message, app, self._clock.now())
                    record.last_failure = failure
            case events.Started():
                self.started, self.started_at = event, self._clock.now()
            case events.Reloaded(at):
                changed = event.started + event.stopped + event.restarted + event.retuned
                self.reload = Reload(at, changed=changed)
            case events.ReloadFailed(message):
                self._refused(message)
            case events.WebConfigRead():
                self.web_config_faults = ()
            case events.WebConfigRefused(faults):
                self.web_config_faults = faults[:MAX_FAULTS]
            case _:
                pass

    def _record(self, endpoint: str) -> EndpointRecord:
        record = self.endpoints.get(endpoint)
        if record is None:
            if len(self.endpoints) >= MAX_ENDPOINTS:
                del self.endpoints[next(iter(self.endpoints))]
            record = self.endpoints[endpoint] = EndpointRecord()
        return record

    def _refused(self, fault: str) -> None:
        now, last = self._clock.now(), self.reload
        faults: tuple[str, ...] = ()
        same = last is not None and now - last.at < SAME_RELOAD_SECONDS
        if last is not None and same and fault not in last.faults:
            faults = last.faults
        self.reload = Reload(now, (*faults, fault)[:MAX_FAULTS])
