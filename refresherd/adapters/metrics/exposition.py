"""What a scrape is answered with: Prometheus text, or OpenMetrics for who asks for it."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from refresherd.adapters.metrics.collector import DaemonCollector
from refresherd.adapters.metrics.families import FAMILIES
from refresherd.adapters.metrics.observer import Metrics
from refresherd.adapters.metrics.text import Row, render
from refresherd.domain import readiness
from refresherd.domain.model import Instant
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import begin
from refresherd.engine.ports import Clock, Roster

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Exposition:
    """Answers scrapes from what Metrics counted and from the roster's statuses.

    Safe to call in a thread while the loop goes on counting.
    """

    def __init__(self, metrics: Metrics, roster: Roster, clock: Clock) -> None:
        self._metrics = metrics
        self._roster = roster
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(DaemonCollector(metrics, clock))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, Iterator[bytes]]:
        """Return the content type, and piece by piece the text, for an Accept header's value.

        Piece by piece, since all of it is 40 MB at 10,000 apps, and 1.5 MB once compressed.
        """
        openmetrics = wants_openmetrics(accept)
        return OPENMETRICS if openmetrics else TEXT, self._pieces(openmetrics=openmetrics)

    def _pieces(self, *, openmetrics: bool) -> Iterator[bytes]:
        for text in render(FAMILIES, self._rows(), openmetrics=openmetrics):
            yield text.encode()
        encode, _ = choose_encoder(OPENMETRICS if openmetrics else TEXT)
        # Last, for it ends with OpenMetrics' end mark.
        yield encode(self._registry)

    def _rows(self) -> list[Row]:
        now = self._clock.now()
        offset = self._clock.wall(Instant(0.0))
        statuses = {status.name: status for status in self._roster.statuses()}
        rows = []
        for tally in self._metrics.tallies():
            status = statuses.get(tally.name) or AppStatus(tally.name, begin(now))
            rows.append(Row(tally, status, readiness.ready(status, now), offset))
        return rows


def wants_openmetrics(accept: str) -> bool:
    """Return whether an Accept header prefers OpenMetrics to Prometheus' own text."""
    try:
        _, content_type = choose_encoder(accept)
    except TypeError:
        # prometheus_client compares versions part by part, and fails on one that is no number.
        return False
    return content_type.startswith("application/openmetrics-text")
