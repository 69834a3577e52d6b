"""Requests on the API socket, counted by route and code from the start."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from refresherd.adapters.metrics import Exposition, Metrics
from refresherd.domain.events import ApiAnswered, ApiRoute
from refresherd.domain.model import ApiKeyFile, App, Endpoint, FileSpec, Instant, SocketSpec
from refresherd.domain.readiness import AppStatus
from support.fakes import FakeClock

NOW = Instant(1000)


class NoApps:
    """A roster without apps."""

    def statuses(self) -> tuple[AppStatus, ...]:
        """Return nothing."""
        return ()

    def status(self, name: str) -> AppStatus | None:
        """Return nothing."""
        raise AssertionError(name)


def scrape(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Return a series' samples by the values of their labels, in the labels' order."""
    _, pieces = Exposition(metrics, NoApps(), FakeClock(NOW)).render("")
    families = text_string_to_metric_families(b"".join(pieces).decode())
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for sample in samples
    }


def test_the_series_are_there_before_anybody_asks() -> None:
    """An alert on the rate of denials must not miss the first."""
    counts = scrape(Metrics(NOW), "refresherd_api_requests_total")
    assert set(counts.values()) == {0.0}
    assert {("200", route.value) for route in ApiRoute if route is not ApiRoute.UNKNOWN} <= set(
        counts
    )
    for code in ("403", "503"):
        assert (code, "/v1/apps/{app}/token") in counts
    timed = scrape(Metrics(NOW), "refresherd_api_request_duration_seconds_count")
    assert timed == {(route.value,): 0.0 for route in ApiRoute}


@pytest.mark.parametrize("route", ApiRoute)
def test_an_answer_is_counted_and_timed_by_its_route(route: ApiRoute) -> None:
    """A code that no route was expected to have appears all the same."""
    metrics = Metrics(NOW)
    for code, duration in ((200, 0.0002), (200, 0.02), (500, 2.0)):
        metrics.observe(ApiAnswered(route, code, duration))
    counts = scrape(metrics, "refresherd_api_requests_total")
    assert {key: count for key, count in counts.items() if count} == {
        ("200", route.value): 2.0,
        ("500", route.value): 1.0,
    }
    sums = scrape(metrics, "refresherd_api_request_duration_seconds_sum")
    assert sums[(route.value,)] == pytest.approx(2.0202)
    buckets = scrape(metrics, "refresherd_api_request_duration_seconds_bucket")
    below = [buckets[bound, route.value] for bound in ("0.00025", "0.05", "+Inf")]
    assert below == [1.0, 2.0, 3.0]


def test_a_socket_is_an_output_like_a_file() -> None:
    """Dashboards show by the same series whether it is up to date."""
    metrics = Metrics(NOW)
    metrics.add_app(
        App(
            "payments",
            Endpoint("https://amer.smartkey.io"),
            ApiKeyFile(Path("/etc/key")),
            files=(FileSpec(Path("/run/a.token")),),
            sockets=(SocketSpec(Path("/run/a.sock")),),
        )
    )
    writes = scrape(metrics, "refresherd_output_writes_total")
    assert writes == {("payments", "/run/a.token"): 0.0, ("payments", "/run/a.sock"): 0.0}
