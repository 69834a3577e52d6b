"""What operators see of an app: facts without a token, and what to do about trouble."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from refresherd.domain import report as reports
from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.labels import HookResult
from refresherd.domain.model import ApiKeyFile, App, Endpoint, Instant, Timing
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.report import AppReport, Consumer, HookStatus
from refresherd.domain.session_state import NEVER, SessionState, State
from support.fakes import FakeClock, grants

TIMING = Timing(at=0.6)
APP = App("payments", Endpoint("https://amer.smartkey.io"), ApiKeyFile(Path("key")), TIMING)
FIRST, SECOND = islice(grants(), 2)
NOW = Instant(1000)
CLOCK = FakeClock(NOW, offset=1_700_000_000 - NOW)
STARTING = session_state.begin(NOW)
FRESH = session_state.granted(STARTING, FIRST, NOW, TIMING, 0.0)
REFUSED = Retryable(Reason.CONNECT, "refused")


def fields_of(report: AppReport | AppStatus, clock: FakeClock) -> dict[str, Any]:
    """Return the app's status as JSON shows it at the clock's time."""
    if isinstance(report, AppStatus):
        report = AppReport(APP, report)
    now = clock.now()
    return reports.fields(report, now, clock.wall(now) - now)


def status(session: SessionState, *outputs: OutputStatus) -> AppStatus:
    """Return the app's status."""
    return AppStatus("payments", session, outputs)


def test_the_status_of_an_app_with_a_token() -> None:
    """When the token is refreshed next is what people want to know first."""
    holds = OutputStatus("/run/a", FRESH.token, written_at=NOW)
    behind = OutputStatus("/run/b", None, "disk full")
    assert fields_of(status(FRESH, holds, behind), CLOCK) == {
        "name": "payments",
        "state": "fresh",
        "ready": False,
        "not_ready_because": ["/run/b does not hold the newest token: disk full"],
        "troubled": True,
        "lost": True,
        "expires_at": "2023-11-14T22:23:20Z",
        "issued_at": "2023-11-14T22:13:20Z",
        "next_refresh_at": "2023-11-14T22:19:20Z",
        "last_refresh_success_at": "2023-11-14T22:13:20Z",
        "generation": 1,
        "consecutive_failures": 0,
        "last_error": None,
        "last_error_at": None,
        "failing_since": None,
        "remedy": reports.REPAIR_OUTPUT,
        "lifetime_seconds": 600.0,
        "outage_budget_seconds": 240.0,
        "endpoint": "https://amer.smartkey.io",
        "renew": "reauth",
        "refused_logins": None,
        "refused_logins_limit": None,
        "outputs": [
            {
                "path": "/run/a",
                "current": True,
                "generation": 1,
                "valid": True,
                "expires_at": "2023-11-14T22:23:20Z",
                "written_at": "2023-11-14T22:13:20Z",
                "error": None,
            },
            {
                "path": "/run/b",
                "current": False,
                "generation": None,
                "valid": False,
                "expires_at": None,
                "written_at": None,
                "error": "disk full",
            },
        ],
        "hooks": [],
        "consumers": [],
    }


def test_an_app_without_a_token_shows_the_reason() -> None:
    """The reason is one line, which a table can show."""
    refused = session_state.failed(STARTING, Rejected(Reason.REJECTED, "bad key"), NOW, TIMING, 0.0)
    fields = fields_of(status(refused), CLOCK)
    assert fields["state"] == "rejected"
    assert fields["ready"] is False
    assert fields["last_error"] == "rejected: bad key"
    assert fields["last_error_at"] == "2023-11-14T22:13:20Z"
    assert fields["consecutive_failures"] == 1
    for absent in (
        "expires_at",
        "issued_at",
        "last_refresh_success_at",
        "lifetime_seconds",
        "outage_budget_seconds",
    ):
        assert fields[absent] is None


def test_an_error_disappears_once_an_attempt_succeeds() -> None:
    """Somebody would look for the cause of an error that is over."""
    failed = session_state.failed(FRESH, REFUSED, NOW, TIMING, 0.0)
    assert fields_of(status(failed), CLOCK)["last_error"] == "connect: refused"
    again = session_state.granted(failed, next(grants()), NOW, TIMING, 0.0)
    assert fields_of(status(again), CLOCK)["last_error"] is None


def test_an_expired_token_keeps_its_date() -> None:
    """It tells since when consumers have had no token."""
    late = FakeClock(1700, offset=CLOCK.offset)
    fields = fields_of(status(session_state.expired(FRESH, late.now())), late)
    assert (fields["state"], fields["expires_at"]) == ("expired", "2023-11-14T22:23:20Z")


def test_an_attempt_that_is_never_due_has_no_date() -> None:
    """Infinity is not a date, and not valid JSON."""
    fields = fields_of(status(replace(FRESH, next_attempt_at=NEVER)), CLOCK)
    assert fields["next_refresh_at"] is None


@pytest.mark.parametrize("state", State)
def test_no_status_shows_the_token(state: State) -> None:
    """Every client that may connect can read it."""
    session = replace(FRESH, state=state)
    text = json.dumps(fields_of(status(session, OutputStatus("/run/a", session.token)), CLOCK))
    assert "token-1" not in text
    assert json.loads(text)["state"] == state


def test_hooks_and_consumers_are_shown_with_their_last_time() -> None:
    """Whose token it is, and whether its hook worked, is asked before anything is changed."""
    ran = HookStatus("systemctl", HookResult.TIMEOUT, "timed out", NOW, 10.0)
    consumers = (Consumer(33, "www-data", "web.service", NOW), Consumer(1000, "", "", NOW))
    report = AppReport(APP, status(FRESH), (ran, HookStatus("logger")), consumers, failed_logins=3)
    fields = fields_of(report, CLOCK)
    at = "2023-11-14T22:13:20Z"
    assert fields["hooks"] == [
        {
            "name": "systemctl",
            "result": "timeout",
            "ran_at": at,
            "duration_seconds": 10.0,
            "message": "timed out",
        },
        {
            "name": "logger",
            "result": None,
            "ran_at": None,
            "duration_seconds": None,
            "message": None,
        },
    ]
    assert fields["consumers"] == [
        {"uid": 33, "user": "www-data", "unit": "web.service", "asked_at": at},
        {"uid": 1000, "user": None, "unit": None, "asked_at": at},
    ]
    assert (fields["refused_logins"], fields["refused_logins_limit"]) == (3, 50)


def test_a_series_of_failures_keeps_its_beginning() -> None:
    """How long DSM has failed says how much of the outage budget is left."""
    session = FRESH
    for seconds in (0, 10, 20):
        session = session_state.failed(session, REFUSED, Instant(NOW + seconds), TIMING, 0.0)
    fields = fields_of(status(session), CLOCK)
    assert fields["failing_since"] == "2023-11-14T22:13:20Z"
    assert fields["last_error_at"] == "2023-11-14T22:13:40Z"
    again = session_state.granted(session, SECOND, Instant(NOW + 30), TIMING, 0.0)
    once = session_state.failed(again, REFUSED, Instant(NOW + 40), TIMING, 0.0)
    assert fields_of(status(once), CLOCK)["failing_since"] == "2023-11-14T22:14:00Z"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_remedy(reason: Reason) -> None:
    """An operator at night must not have to search for what an error calls for."""
    failed = session_state.failed(FRESH, Retryable(reason, "it failed"), NOW, TIMING, 0.0)
    remedy = fields_of(status(failed), CLOCK)["remedy"]
    assert remedy == reports.REMEDIES[reason]
    assert len(remedy.split()) >= 5


def test_the_most_important_trouble_decides_what_to_do() -> None:
    """A hook that failed matters little while there is no token."""
    failing = session_state.failed(FRESH, REFUSED, NOW, TIMING, 0.0)
    output = OutputStatus("/run/a", None, "disk full")
    hook = HookStatus("systemctl", HookResult.FAILED)

    def remedy(session: SessionState, *outputs: OutputStatus) -> str:
        return reports.remedy(AppReport(APP, status(session, *outputs), (hook,)))

    assert remedy(failing, output) == reports.REMEDIES[Reason.CONNECT]
    assert remedy(FRESH, output) == reports.REPAIR_OUTPUT
    assert remedy(FRESH) == reports.REPAIR_HOOK
    assert not reports.remedy(AppReport(APP, status(FRESH)))


def test_apps_that_need_a_person_come_first() -> None:
    """On a page of a thousand apps nobody scrolls for the one in trouble."""
    refused = session_state.failed(STARTING, Rejected(Reason.REJECTED, "no"), NOW, TIMING, 0.0)
    late = Instant(NOW + 700)
    sessions = {
        "healthy": (FRESH, ()),
        "lagging": (FRESH, (OutputStatus("/run/a", None, "disk full"),)),
        "retrying": (session_state.failed(FRESH, REFUSED, NOW, TIMING, 0.0), ()),
        "starting": (STARTING, ()),
        "expired": (session_state.expired(FRESH, late), ()),
        "rejected": (refused, ()),
    }
    apps = {
        name: AppReport(APP, AppStatus(name, session, outputs))
        for name, (session, outputs) in sessions.items()
    }
    assert sorted(apps, key=lambda name: reports.urgency(apps[name])) == list(reversed(sessions))
    troubled = {name for name, one in apps.items() if reports.troubled(one)}
    assert troubled == {"lagging", "retrying", "expired", "rejected"}
