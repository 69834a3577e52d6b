"""Prometheus' own tool checks the exposition."""

import subprocess
from pathlib import Path

from refresherd.adapters.metrics.exposition import TEXT, Exposition
from refresherd.adapters.metrics.observer import Metrics
from refresherd.domain import session_state
from refresherd.domain.model import ApiKeyFile, App, Endpoint, FileSpec, Instant, Timing
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.report import AppReport
from support.fakes import FakeClock, grants
from support.lab import needs_tool

NOW = Instant(1000)


class OneApp:
    """A roster of one app with a token."""

    def status(self, name: str) -> AppStatus:
        """Return the app's status."""
        session = session_state.granted(
            session_state.begin(NOW), next(grants()), NOW, Timing(), 0.0
        )
        return AppStatus(name, session, (OutputStatus('/run/"a\\b".token', written_at=NOW),))

    def reports(self) -> tuple[AppReport, ...]:
        """Return nothing: nobody asks for reports here."""
        return ()

    def statuses(self) -> tuple[AppStatus, ...]:
        """Return the app's status."""
        return (self.status("payments"),)


def test_promtool_finds_no_fault() -> None:
    """It checks the naming rules, and parses as strictly as Prometheus."""
    promtool = needs_tool("promtool")
    metrics = Metrics(NOW)
    files = (FileSpec(Path('/run/"a\\b".token')),)
    endpoint = Endpoint("https://amer.smartkey.io")
    metrics.add_app(App("payments", endpoint, ApiKeyFile(Path("/etc/key")), files=files))
    pieces = Exposition(metrics, OneApp(), FakeClock()).render(TEXT)
    check = subprocess.run(
        [promtool, "check", "metrics"],
        input=b"".join(pieces),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (check.returncode, check.stderr.decode()) == (0, "")
