"""What a scraper reads of some metrics."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from refresherd.adapters.metrics.exposition import Exposition
from refresherd.adapters.metrics.observer import Metrics
from refresherd.domain import session_state
from refresherd.domain.model import (
    ApiKeyFile,
    App,
    Certificate,
    Endpoint,
    FileSpec,
    HookSpec,
    Instant,
    Timing,
)
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.report import AppReport
from support.fakes import ENTITY_ID, FakeClock, grants

NOW = Instant(1000)


class FakeRoster:
    """A roster with these apps."""

    def __init__(self, *reports: AppReport) -> None:
        self._reports = reports

    def reports(self) -> tuple[AppReport, ...]:
        """Return every report."""
        return self._reports

    def statuses(self) -> Iterator[AppStatus]:
        """Yield every status."""
        return (report.status for report in self._reports)

    def status(self, name: str) -> AppStatus | None:
        """Return one app's status."""
        return next((status for status in self.statuses() if status.name == name), None)


def exposition(
    metrics: Metrics, *reports: AppReport, now: float = NOW, dropped: int = 0
) -> Exposition:
    """Return what answers scrapes at an instant, when the log has lost so many lines."""
    return Exposition(metrics, FakeRoster(*reports), FakeClock(now), lambda: dropped)


def text(source: Exposition, accept: str = "") -> str:
    """Return the text that a scraper gets."""
    return b"".join(source.render(source.content_type(accept))).decode()


def families(source: Exposition) -> dict[str, Metric]:
    """Return the families by name, as Prometheus reads them."""
    return {family.name: family for family in text_string_to_metric_families(text(source))}


def series(metrics: Metrics, *reports: AppReport) -> dict[str, float]:
    """Return refresherd's own series by name and labels: `app_ready app=payments`, for example."""
    return {
        " ".join((sample.name.removeprefix("refresherd_"), *pairs(sample.labels))): sample.value
        for family in families(exposition(metrics, *reports)).values()
        for sample in family.samples
        if sample.name.startswith("refresherd_")
    }


def pairs(labels: dict[str, str]) -> list[str]:
    """Return labels as `name=value`, in the order of their names."""
    return [f"{name}={value}" for name, value in sorted(labels.items())]


def everything() -> str:
    """Return a scrape in which every metric has a series."""
    path = '/run/"a\\b".token'
    payments = App(
        "payments",
        Endpoint("https://amer.smartkey.io"),
        ApiKeyFile(Path("/etc/key")),
        files=(FileSpec(Path(path)),),
        hooks=(HookSpec(("true",)),),
    )
    certificate = Certificate(ENTITY_ID, Path("/etc/app.crt"), Path("/etc/app.key"))
    metrics = Metrics(NOW, [payments, replace(payments, name="billing", credential=certificate)])
    metrics.add_api("/run/api.sock")
    session = session_state.granted(session_state.begin(NOW), next(grants()), NOW, Timing(), 0.0)
    status = AppStatus("payments", session, (OutputStatus(path, written_at=NOW),))
    return text(exposition(metrics, AppReport(payments, status, failed_logins=1), dropped=1))
