"""Answers scrapes, in Prometheus' text format or in OpenMetrics."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from refresherd import __version__
from refresherd.adapters.metrics.families import FAMILIES
from refresherd.adapters.metrics.observer import REFUSALS, Histogram, Metrics
from refresherd.adapters.metrics.rendering import Row, has_seconds, render
from refresherd.adapters.metrics.series import movable
from refresherd.domain import readiness
from refresherd.domain.model import Instant
from refresherd.domain.negotiation import prefers_openmetrics
from refresherd.domain.readiness import AppStatus
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import begin
from refresherd.engine.ports import Clock, Roster

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ENCODERS: Mapping[str, Callable[[Collector], bytes]] = {
    TEXT: generate_latest,
    OPENMETRICS: generate_openmetrics,
}


class Exposition(Collector):
    """Answers scrapes from the counters of Metrics and the reports of the roster.

    `lines_dropped` returns how many log lines were dropped. Safe to call in a thread while the
    event loop goes on counting.
    """

    def __init__(
        self, metrics: Metrics, roster: Roster, clock: Clock, lines_dropped: Callable[[], int]
    ) -> None:
        self._metrics = metrics
        self._roster = roster
        self._clock = clock
        self._lines_dropped = lines_dropped
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    @staticmethod
    def content_type(accept: str) -> str:
        """Return which of the two content types an Accept header prefers."""
        return OPENMETRICS if prefers_openmetrics(accept) else TEXT

    def render(self, content_type: str) -> Iterator[bytes]:
        """Yield the metrics in pieces, in one of the content types; for 10,000 apps they are 31 MB.

        The event loop may run between two pieces.
        """
        openmetrics = content_type == OPENMETRICS
        now = self._clock.now()
        offset = self._clock.wall(Instant(0.0))
        reports = {report.app.name: report for report in self._roster.reports()}
        rows = []
        for counters in self._metrics.apps():
            app = counters.app
            can_move = movable(app, ends_sessions=self._metrics.ends_sessions)
            # A reload creates an app's series before the app.
            report = reports.get(app.name) or AppReport(app, AppStatus(app.name, begin(now)))
            ready = readiness.ready(report.status, now)
            rows.append(Row(counters, can_move, report, ready, offset))
        for text in render(FAMILIES, rows, openmetrics=openmetrics):
            yield text.encode()
        encode = _ENCODERS[content_type]
        # Last, since it ends with OpenMetrics' end mark.
        yield encode(self._registry)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily]:
        """Yield the daemon's own families, which belong to no app, for prometheus_client."""
        metrics = self._metrics
        build = GaugeMetricFamily(
            "refresherd_build_info",
            "Always 1; the labels are the versions of refresherd and Python.",
            labels=("version", "python_version"),
        )
        build.add_metric((__version__, platform.python_version()), 1)
        yield build
        yield _histograms(
            "refresherd_refresh_duration_seconds",
            "Duration of requests to DSM for a session, by method and result, in seconds.",
            ("endpoint", "method", "result"),
            metrics.durations.copy().items(),
        )
        yield _histograms(
            "refresherd_refresh_delay_seconds",
            "Time between the due time of an attempt and its start, in seconds.",
            (),
            [((), metrics.delays)],
        )
        yield _counters(
            "refresherd_api_requests",
            "Requests on the API socket, by route and status code.",
            ("route", "code"),
            [
                ((route, str(code)), answers.count)
                for (route, code), answers in metrics.answers.copy().items()
            ],
        )
        yield _histograms(
            "refresherd_api_request_duration_seconds",
            "Time until the answer to an API request begins, waiting included, in seconds.",
            ("route",),
            [
                ((route,), durations)
                for route, durations in metrics.request_durations.copy().items()
            ],
        )
        yield _counters(
            "refresherd_connections_refused",
            "Connections that a listener refused, by reason.",
            ("listener", "reason"),
            [
                ((name, reason), count)
                for name, counts in metrics.refusals.copy().items()
                for reason, count in zip(REFUSALS, counts, strict=True)
            ],
        )
        yield _counters(
            "refresherd_clock_jumps",
            "Suspends of the machine and steps of its wall clock, by kind.",
            ("kind",),
            [((kind,), count) for kind, count in metrics.jumps.items()],
        )
        yield CounterMetricFamily(
            "refresherd_log_lines_dropped",
            "Log lines dropped because they were too many or could not be written.",
            self._lines_dropped(),
        )
        yield _gauge(
            "refresherd_event_loop_lag_seconds",
            "How late the event loop ran the schedule's last heartbeat, in seconds.",
            metrics.lag,
        )
        yield _gauge(
            "refresherd_config_last_reload_successful",
            "1 if the configuration and the web configuration were good when they were last read, "
            "otherwise 0.",
            metrics.loaded and metrics.web_config_read,
        )
        yield _gauge(
            "refresherd_config_last_reload_success_timestamp_seconds",
            "When a configuration was last loaded successfully, in unix seconds.",
            round(self._clock.wall(metrics.loaded_at), 3),
        )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value, unit="seconds" if has_seconds(name) else "")


def _counters(
    name: str, text: str, labels: tuple[str, ...], counts: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts:
        family.add_metric(values, count)
    return family


def _histograms(
    name: str,
    text: str,
    labels: tuple[str, ...],
    histograms: Iterable[tuple[tuple[str, ...], Histogram]],
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=labels, unit="seconds")
    for values, histogram in histograms:
        family.add_metric(values, histogram.buckets(), histogram.sum)
    return family
