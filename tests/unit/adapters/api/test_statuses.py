"""Statuses: all that an operator asks of an app, and never its token."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from refresherd.adapters.api.statuses import Moment, status_fields
from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.model import ApiKeyFile, App, Endpoint, Instant, Timing
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.session_state import NEVER, SessionState, State
from support.fakes import grants

NOW = Instant(1000)
MOMENT = Moment(NOW, 1_700_000_000 - NOW)
TIMING = Timing(at=0.6)
APP = App("payments", Endpoint("https://amer.smartkey.io"), ApiKeyFile(Path("key")), TIMING)
STARTING = session_state.begin(NOW)
FRESH = session_state.granted(STARTING, next(grants()), NOW, TIMING, 0.0)
REFUSED = Retryable(Reason.CONNECT, "refused")


def status(session: SessionState, *outputs: OutputStatus) -> AppStatus:
    """Return the app's status."""
    return AppStatus("payments", session, outputs)


def test_a_healthy_app_tells_when_it_will_be_refreshed() -> None:
    """That is what people ask first, and what other agents leave in the dark."""
    holds = OutputStatus("/run/a", FRESH.token, written_at=NOW)
    behind = OutputStatus("/run/b", None, "disk full")
    assert status_fields(APP, status(FRESH, holds, behind), MOMENT) == {
        "name": "payments",
        "state": "fresh",
        "ready": False,
        "not_ready_because": ["/run/b does not hold the newest token: disk full"],
        "expires_at": "2023-11-14T22:23:20Z",
        "issued_at": "2023-11-14T22:13:20Z",
        "next_refresh_at": "2023-11-14T22:19:20Z",
        "last_refresh_success_at": "2023-11-14T22:13:20Z",
        "generation": 1,
        "consecutive_failures": 0,
        "last_error": None,
        "last_error_at": None,
        "outage_budget_seconds": 240.0,
        "endpoint": "https://amer.smartkey.io",
        "outputs": [
            {
                "path": "/run/a",
                "current": True,
                "written_at": "2023-11-14T22:13:20Z",
                "error": None,
            },
            {"path": "/run/b", "current": False, "written_at": None, "error": "disk full"},
        ],
    }


def test_an_app_without_a_token_tells_why() -> None:
    """In one line that a table can show."""
    refused = session_state.failed(STARTING, Rejected(Reason.REJECTED, "bad key"), NOW, TIMING, 0.0)
    fields = status_fields(APP, status(refused), MOMENT)
    assert fields["state"] == "rejected"
    assert fields["ready"] is False
    assert fields["last_error"] == "rejected: bad key"
    assert fields["last_error_at"] == "2023-11-14T22:13:20Z"
    assert fields["consecutive_failures"] == 1
    for absent in ("expires_at", "issued_at", "last_refresh_success_at", "outage_budget_seconds"):
        assert fields[absent] is None


def test_trouble_past_is_not_told() -> None:
    """An error that is over would be searched for."""
    failed = session_state.failed(FRESH, REFUSED, NOW, TIMING, 0.0)
    assert status_fields(APP, status(failed), MOMENT)["last_error"] == "connect: refused"
    again = session_state.granted(failed, next(grants()), NOW, TIMING, 0.0)
    assert status_fields(APP, status(again), MOMENT)["last_error"] is None


def test_an_expired_token_keeps_its_date() -> None:
    """Since when consumers are without one is what the outage's report will say."""
    late = Moment(Instant(1700), MOMENT.offset)
    fields = status_fields(APP, status(session_state.expired(FRESH, late.now)), late)
    assert (fields["state"], fields["expires_at"]) == ("expired", "2023-11-14T22:23:20Z")


def test_what_will_never_come_has_no_date() -> None:
    """Infinity is no date, and no JSON."""
    fields = status_fields(APP, status(replace(FRESH, next_attempt_at=NEVER)), MOMENT)
    assert fields["next_refresh_at"] is None


@pytest.mark.parametrize("state", State)
def test_no_status_shows_the_token(state: State) -> None:
    """Whoever may connect reads it."""
    session = replace(FRESH, state=state)
    text = json.dumps(
        status_fields(APP, status(session, OutputStatus("/run/a", session.token)), MOMENT)
    )
    assert "token-1" not in text
    assert json.loads(text)["state"] == state
