"""What the API says of an app, for tests of what is made of it."""

from datetime import UTC, datetime
from typing import Any

from refresherd.domain import report, session_state
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Instant
from refresherd.domain.readiness import AppStatus
from refresherd.domain.report import AppReport

ENDPOINT = "https://amer.smartkey.io"

NOW = 1_700_000_000.0
"""In unix seconds."""


def stamp(unix: float) -> str:
    """Return unix seconds in the daemon's format."""
    return datetime.fromtimestamp(int(unix), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def starting(app: str) -> dict[str, Any]:
    """Return the fields of an app without a token, whose next attempt is not planned."""
    settings = App(app, Endpoint(ENDPOINT), ApiKeyEnv("KEY"))
    session = session_state.begin(Instant(NOW))
    fields = report.fields(AppReport(settings, AppStatus(app, session)), Instant(NOW), 0.0)
    return fields | {"next_refresh_at": None}


def fresh(app: str = "payments", /, **changes: object) -> dict[str, Any]:
    """Return the fields of an app whose token was issued 169 seconds before NOW, with changes."""
    return {
        **starting(app),
        "state": "fresh",
        "ready": True,
        "not_ready_because": [],
        "expires_at": stamp(NOW + 431),
        "issued_at": stamp(NOW - 169),
        "next_refresh_at": stamp(NOW + 131),
        "last_refresh_success_at": stamp(NOW - 169),
        "generation": 7,
        "lifetime_seconds": 600.0,
        "outage_budget_seconds": 300.0,
        **changes,
    }


def failing(app: str = "payments", /, **changes: object) -> dict[str, Any]:
    """Return the fields of an app whose latest attempt failed 2 seconds before NOW."""
    trouble = {
        "state": "retrying",
        "troubled": True,
        "lost": False,
        "next_refresh_at": stamp(NOW + 8),
        "consecutive_failures": 3,
        "last_error": "connect: refused",
        "last_error_at": stamp(NOW - 2),
        "failing_since": stamp(NOW - 62),
        "remedy": "check endpoint, proxy, DNS and the firewall",
    }
    return fresh(app, **{**trouble, **changes})
