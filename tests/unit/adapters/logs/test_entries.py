"""The entry of each event: the name and fields that operators search their logs for."""

import logging
from dataclasses import replace
from typing import get_args

import pytest

from refresherd.adapters.logs.entries import describe
from refresherd.domain import events
from refresherd.domain.certificates import Validity
from refresherd.domain.connection_quota import Refusal
from refresherd.domain.errors import Reason
from refresherd.domain.events import Event
from refresherd.domain.labels import ApiRoute, Ending, HookResult, Jump
from refresherd.domain.model import Instant, Method

HOOK = "hooks[0] systemctl"
URL = "https://amer.smartkey.io"
PATH = "/run/payments.token"
RENEWED = events.Renewed(
    "payments", URL, Method.REAUTH, 0.0214, 7, Instant(1600), Instant(1300), "r-1"
)
FAILED = events.AttemptFailed(
    "payments", URL, Method.AUTH, Reason.CONNECT, "refused", 0.5, 2, Instant(1030), "r-2"
)

EVENTS: list[tuple[Event, int, str]] = [
    (events.AttemptBegan("payments", Method.AUTH, 0.0), logging.DEBUG, "attempt began"),
    (RENEWED, logging.INFO, "token refreshed"),
    (replace(RENEWED, method=Method.KEEPALIVE), logging.INFO, "session kept alive"),
    (FAILED, logging.WARNING, "refresh failed"),
    (replace(FAILED, reason=Reason.SESSION_LOST), logging.WARNING, "refresh failed"),
    (replace(FAILED, reason=Reason.REJECTED), logging.ERROR, "refresh failed"),
    (replace(FAILED, reason=Reason.MFA_REQUIRED), logging.ERROR, "refresh failed"),
    (
        events.LoginPostponed("payments", "50 have failed", Instant(1030)),
        logging.ERROR,
        "login withheld",
    ),
    (events.SessionChecked("payments", URL, 0.02), logging.DEBUG, "session checked"),
    (
        events.SessionResumed("payments", 7, Instant(1600), Instant(1300)),
        logging.INFO,
        "session resumed",
    ),
    (events.TokenExpired("payments", 7), logging.ERROR, "token expired"),
    (events.CredentialChanged("payments"), logging.INFO, "credential changed"),
    (events.EntityMismatch("payments", "a", "b"), logging.WARNING, "entity mismatch"),
    (
        events.CertificateRead("payments", "/etc/app.crt", 1_800_000_000.0),
        logging.DEBUG,
        "client certificate read",
    ),
    (
        events.CertificateExpires("payments", "/etc/app.crt", "in 9 days", Validity.EXPIRES_SOON),
        logging.WARNING,
        "client certificate expires",
    ),
    (
        events.CertificateExpires("payments", "/etc/app.crt", "today", Validity.EXPIRED),
        logging.ERROR,
        "client certificate expires",
    ),
    (events.SessionEnded("payments", Ending.TERMINATED), logging.DEBUG, "session ended"),
    (events.SessionEnded("payments", Ending.GONE), logging.DEBUG, "session ended"),
    (
        events.SessionEnded("payments", Ending.FAILED, "refused"),
        logging.WARNING,
        "session not ended",
    ),
    (events.OutputWritten("payments", PATH, 7), logging.DEBUG, "output written"),
    (events.OutputUnchanged("payments", PATH, 7), logging.DEBUG, "output unchanged"),
    (
        events.OutputAltered("payments", PATH, "somebody removed it", 0.0),
        logging.WARNING,
        "output altered",
    ),
    (events.OutputRemoved("payments", PATH), logging.INFO, "output removed"),
    (events.OutputFailed("payments", PATH, "disk full", 1.0), logging.WARNING, "output failed"),
    (events.HookRan("payments", HOOK, HookResult.OK, 0.1), logging.DEBUG, "hook ran"),
    (
        events.HookRan("payments", HOOK, HookResult.FAILED, 0.1, "no"),
        logging.WARNING,
        "hook failed",
    ),
    (events.HookRan("payments", HOOK, HookResult.TIMEOUT, 10.0), logging.WARNING, "hook failed"),
    (events.ApiAnswered(ApiRoute.TOKEN, 200, 0.0002), logging.DEBUG, "request answered"),
    (events.AccessDenied("payments", "api", 1000, 100, 42, ""), logging.WARNING, "access denied"),
    (
        events.AccessUndecided("payments", "api", 1000, 100, 42, "it takes too long"),
        logging.WARNING,
        "access undecided",
    ),
    (
        events.ConnectionRejected("api", Refusal.USER_CONNECTIONS, "1000", 3),
        logging.WARNING,
        "connection refused",
    ),
    (events.AcceptFailed("api", "no files"), logging.ERROR, "cannot accept connections"),
    (events.AppCrashed("payments", ValueError("x"), 1.0), logging.ERROR, "app crashed"),
    (events.ClockJumped(Jump.SUSPEND, 3600.0), logging.INFO, "clock jumped"),
    (events.LoopLagged(0.2), logging.DEBUG, "event loop lagged"),
    (events.LoopLagged(2.0), logging.WARNING, "event loop lagged"),
    (events.Started("1.0", 3), logging.INFO, "started"),
    (events.Warned("key readable by all", "payments"), logging.WARNING, "warning"),
    (events.Reloaded(Instant(1000), 1, 0, 2, 0), logging.INFO, "reloaded"),
    (events.ReloadFailed("line 3"), logging.ERROR, "reload failed"),
    (events.Stopping("SIGTERM"), logging.INFO, "stopping"),
    (events.Stopped(), logging.INFO, "stopped"),
]


@pytest.mark.parametrize(("event", "level", "name"), EVENTS)
def test_each_event_has_its_name_and_level(event: Event, level: int, name: str) -> None:
    """Alerts depend on both."""
    entry = describe(event)
    assert (entry.level, entry.event) == (level, name)
    if hasattr(event, "app"):
        assert entry.fields["app"] == "payments"


def test_a_warning_about_no_app_has_no_app_field() -> None:
    """An empty name would look like another app to a filter."""
    assert describe(events.Warned("the disk is full")).fields == {"message": "the disk is full"}


def test_the_list_above_has_every_event() -> None:
    """The other tests depend on it."""
    assert {type(event) for event, _, _ in EVENTS} == set(get_args(Event))


def test_a_renewal_has_what_an_operator_needs_next() -> None:
    """That is the expiry, the next refresh, and the request id for DSM's support."""
    assert describe(RENEWED).fields == {
        "app": "payments",
        "method": "reauth",
        "duration": 0.021,
        "generation": 7,
        "expires_at": 1600,
        "next_refresh_at": 1300,
        "request_id": "r-1",
    }


def test_a_failure_has_its_cause_and_what_happens_next() -> None:
    """A line that only says that something failed does not help at night."""
    assert describe(FAILED).fields == {
        "app": "payments",
        "method": "auth",
        "reason": "connect",
        "message": "refused",
        "duration": 0.5,
        "failures": 2,
        "next_refresh_at": 1030,
        "endpoint": URL,
        "request_id": "r-2",
    }


@pytest.mark.parametrize(
    "event",
    [
        RENEWED,
        events.OutputWritten("payments", PATH, 7),
        events.OutputUnchanged("payments", PATH, 7),
        events.OutputRemoved("payments", PATH),
        events.HookRan("payments", HOOK, HookResult.OK, 0.1),
    ],
)
def test_the_end_of_trouble_is_logged_with_its_extent(event: Event) -> None:
    """An operator who saw the failure must learn of its end, at level info too."""
    entry = describe(event, failures=3)
    assert entry.level == logging.INFO
    assert entry.fields["recovered_after"] == 3


def test_a_failed_hook_has_its_name_result_and_cause() -> None:
    """An operator must know which of several hooks to fix, and how."""
    failed = events.HookRan("payments", HOOK, HookResult.TIMEOUT, 10.0004, "not done within 10 s")
    assert describe(failed).fields == {
        "app": "payments",
        "hook": HOOK,
        "result": "timeout",
        "duration": 10.0,
        "message": "not done within 10 s",
    }


def test_the_output_of_a_successful_hook_is_logged() -> None:
    """A hook has no terminal, so its author looks into the log."""
    entry = describe(events.HookRan("payments", HOOK, HookResult.OK, 0.1, "2 workers reloaded"))
    assert entry.level == logging.INFO
    assert entry.fields["message"] == "2 workers reloaded"


def test_a_denial_has_its_client_and_app() -> None:
    """An operator adds the client to the app's `access`, or finds out what it wanted."""
    entry = describe(events.AccessDenied("payments", "/run/api.sock", 1000, 100, 42, "web.service"))
    assert entry.fields == {
        "app": "payments",
        "socket": "/run/api.sock",
        "uid": 1000,
        "gid": 100,
        "pid": 42,
        "unit": "web.service",
    }


def test_denials_of_one_user_do_not_hide_those_of_another() -> None:
    """Repetitions of a looping client are suppressed; an intruder's denial is not one."""
    scopes = {
        describe(events.AccessDenied(app, "api", uid, 0, pid, "")).scope
        for app, uid, pid in [("a", 1, 7), ("a", 1, 8), ("a", 2, 7), ("b", 1, 7)]
    }
    assert len(scopes) == 3


def test_only_trouble_has_a_scope() -> None:
    """Events that recur normally, such as a refresh, must not be suppressed."""
    troubled = {e.event for e in (describe(event) for event, *_ in EVENTS) if e.scope is not None}
    assert troubled == {
        "refresh failed",
        "login withheld",
        "entity mismatch",
        "session not ended",
        "output failed",
        "hook failed",
        "access denied",
        "access undecided",
        "connection refused",
        "cannot accept connections",
        "app crashed",
        "event loop lagged",
    }
