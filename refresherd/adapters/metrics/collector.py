"""The daemon's own series, those that no app has a share in, for prometheus_client."""

import platform
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from refresherd import __version__
from refresherd.adapters.metrics.observer import Metrics
from refresherd.engine.ports import Clock


class DaemonCollector(Collector):
    """Reads Metrics at each scrape."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily]:
        """Yield every family."""
        yield self._build_info()
        yield self._durations()
        yield self._delays()
        yield self._clock_jumps()
        yield self._api_requests()
        yield self._api_durations()
        yield GaugeMetricFamily(
            "refresherd_event_loop_lag_seconds",
            "How late the event loop last ran the schedule's heartbeat.",
            self._metrics.lag,
        )
        yield GaugeMetricFamily(
            "refresherd_config_last_reload_successful",
            "Whether the configuration was taken over when it was last to be loaded.",
            self._metrics.loaded,
        )
        yield GaugeMetricFamily(
            "refresherd_config_last_reload_success_timestamp_seconds",
            "When a configuration was last taken over, in unix time.",
            round(self._clock.wall(self._metrics.loaded_at), 3),
        )

    def _build_info(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "refresherd_build_info",
            "The versions that run, in its labels.",
            labels=("version", "python_version"),
        )
        family.add_metric((__version__, platform.python_version()), 1)
        return family

    def _durations(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "refresherd_refresh_duration_seconds",
            "How long a request for a session took, failed or not.",
            labels=("endpoint", "method"),
        )
        for (endpoint, method), histogram in self._metrics.durations.copy().items():
            family.add_metric((endpoint, method.value), histogram.buckets(), histogram.sum)
        return family

    def _delays(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "refresherd_refresh_delay_seconds", "How long after its due time an attempt began."
        )
        family.add_metric((), self._metrics.delays.buckets(), self._metrics.delays.sum)
        return family

    def _api_requests(self) -> CounterMetricFamily:
        family = CounterMetricFamily(
            "refresherd_api_requests",
            "Answers on the API socket, by route and status code.",
            labels=("route", "code"),
        )
        for (route, code), count in self._metrics.requests.counts().items():
            family.add_metric((route.value, str(code)), count)
        return family

    def _api_durations(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "refresherd_api_request_duration_seconds",
            "How long an answer on the API socket took to begin, its waiting included.",
            labels=("route",),
        )
        for route, histogram in self._metrics.requests.durations().items():
            family.add_metric((route.value,), histogram.buckets(), histogram.sum)
        return family

    def _clock_jumps(self) -> CounterMetricFamily:
        family = CounterMetricFamily(
            "refresherd_clock_jumps",
            "How often the machine slept, or its wall clock was set.",
            labels=("kind",),
        )
        for kind, count in self._metrics.jumps.items():
            family.add_metric((kind.value,), count)
        return family
