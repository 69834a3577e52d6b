"""What each event says, and to whom: the words operators search their logs for."""

import logging
from dataclasses import replace
from typing import get_args

import pytest

from refresherd.adapters.logs.entries import describe
from refresherd.domain.errors import Reason
from refresherd.domain.events import (
    AcceptFailed,
    AccessDenied,
    ApiAnswered,
    ApiRoute,
    AppCrashed,
    AttemptBegan,
    AttemptFailed,
    ClockJumped,
    ConnectionRejected,
    CredentialChanged,
    Ending,
    EntityMismatch,
    Event,
    HookRan,
    HookResult,
    Jump,
    LoginPostponed,
    LoopLagged,
    OutputFailed,
    OutputRemoved,
    OutputWritten,
    Reloaded,
    ReloadFailed,
    Renewed,
    SessionChecked,
    SessionEnded,
    SessionResumed,
    Started,
    Stopping,
    TokenExpired,
    Warned,
)
from refresherd.domain.model import Instant, Method

HOOK = "hooks[0] systemctl"
URL = "https://amer.smartkey.io"
PATH = "/run/payments.token"
RENEWED = Renewed("payments", URL, Method.REAUTH, 0.0214, 7, Instant(1600), Instant(1300), "r-1")
FAILED = AttemptFailed(
    "payments", URL, Method.AUTH, Reason.CONNECT, "refused", 0.5, 2, Instant(1030), "r-2"
)

EVENTS: list[tuple[Event, int, str]] = [
    (AttemptBegan("payments", Method.AUTH, 0.0), logging.DEBUG, "attempt began"),
    (RENEWED, logging.INFO, "token refreshed"),
    (replace(RENEWED, method=Method.KEEPALIVE), logging.INFO, "session kept alive"),
    (FAILED, logging.WARNING, "refresh failed"),
    (replace(FAILED, reason=Reason.SESSION_LOST), logging.WARNING, "refresh failed"),
    (replace(FAILED, reason=Reason.REJECTED), logging.ERROR, "refresh failed"),
    (replace(FAILED, reason=Reason.MFA_REQUIRED), logging.ERROR, "refresh failed"),
    (LoginPostponed("payments", "50 have failed", Instant(1030)), logging.ERROR, "login withheld"),
    (SessionChecked("payments", URL, 0.02), logging.DEBUG, "session checked"),
    (
        SessionResumed("payments", 7, Instant(1600), Instant(1300)),
        logging.INFO,
        "session resumed",
    ),
    (TokenExpired("payments", 7), logging.ERROR, "token expired"),
    (CredentialChanged("payments"), logging.INFO, "credential changed"),
    (EntityMismatch("payments", "a", "b"), logging.WARNING, "entity mismatch"),
    (SessionEnded("payments", Ending.TERMINATED), logging.DEBUG, "session ended"),
    (SessionEnded("payments", Ending.GONE), logging.DEBUG, "session ended"),
    (SessionEnded("payments", Ending.FAILED, "refused"), logging.WARNING, "session not ended"),
    (OutputWritten("payments", PATH, 7), logging.DEBUG, "output written"),
    (OutputRemoved("payments", PATH), logging.INFO, "output removed"),
    (OutputFailed("payments", PATH, "disk full", 1.0), logging.WARNING, "output failed"),
    (HookRan("payments", HOOK, HookResult.OK, 0.1), logging.DEBUG, "hook ran"),
    (HookRan("payments", HOOK, HookResult.FAILED, 0.1, "no"), logging.WARNING, "hook failed"),
    (HookRan("payments", HOOK, HookResult.TIMEOUT, 10.0), logging.WARNING, "hook failed"),
    (ApiAnswered(ApiRoute.TOKEN, 200, 0.0002), logging.DEBUG, "request answered"),
    (AccessDenied("payments", "api", 1000, 100, 42, ""), logging.WARNING, "access denied"),
    (ConnectionRejected("api", 1000, 128), logging.WARNING, "connection refused"),
    (AcceptFailed("api", "no files"), logging.ERROR, "cannot accept connections"),
    (AppCrashed("payments", ValueError("x"), 1.0), logging.ERROR, "app crashed"),
    (ClockJumped(Jump.SUSPEND, 3600.0), logging.INFO, "clock jumped"),
    (LoopLagged(0.2), logging.DEBUG, "event loop lagged"),
    (LoopLagged(2.0), logging.WARNING, "event loop lagged"),
    (Started("1.0", 3), logging.INFO, "started"),
    (Warned("key readable by all", "payments"), logging.WARNING, "warning"),
    (Reloaded(Instant(1000), 1, 0, 2, 0), logging.INFO, "reloaded"),
    (ReloadFailed("line 3"), logging.ERROR, "reload failed"),
    (Stopping("SIGTERM"), logging.INFO, "stopping"),
]


@pytest.mark.parametrize(("event", "level", "sentence"), EVENTS)
def test_an_event_is_told_in_its_words_at_its_level(
    event: Event, level: int, sentence: str
) -> None:
    """Alerts are built on both."""
    entry = describe(event)
    assert (entry.level, entry.event) == (level, sentence)
    if hasattr(event, "app"):
        assert entry.fields["app"] == "payments"


def test_a_warning_about_no_app_names_none() -> None:
    """An empty name would be an app of its own for whoever filters by it."""
    assert describe(Warned("the disk is full")).fields == {"message": "the disk is full"}


def test_no_event_is_forgotten_here() -> None:
    """The list above is what the others are read by."""
    assert {type(event) for event, _, _ in EVENTS} == set(get_args(Event))


def test_a_renewal_tells_what_an_operator_asks_next() -> None:
    """Until when it is good, when the next one is due, and the id that DSM's support wants."""
    assert describe(RENEWED).fields == {
        "app": "payments",
        "method": "reauth",
        "duration": 0.021,
        "generation": 7,
        "expires_at": 1600,
        "next_refresh_at": 1300,
        "request_id": "r-1",
    }


def test_a_failure_tells_why_and_what_happens_next() -> None:
    """A line that says only that something failed costs the night."""
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
        OutputWritten("payments", PATH, 7),
        OutputRemoved("payments", PATH),
        HookRan("payments", HOOK, HookResult.OK, 0.1),
    ],
)
def test_the_end_of_trouble_is_told_with_its_extent(event: Event) -> None:
    """Whoever was alarmed must learn that it is over, though debugging is off."""
    entry = describe(event, failures=3)
    assert entry.level == logging.INFO
    assert entry.fields["recovered_after"] == 3


def test_a_hook_that_failed_tells_which_how_and_why() -> None:
    """Of several hooks one is to be mended, by what it complained of."""
    failed = HookRan("payments", HOOK, HookResult.TIMEOUT, 10.0004, "not done within 10 s")
    assert describe(failed).fields == {
        "app": "payments",
        "hook": HOOK,
        "result": "timeout",
        "duration": 10.0,
        "message": "not done within 10 s",
    }


def test_what_a_hook_printed_is_told_though_it_succeeded() -> None:
    """It has no terminal, so the log is where its author looks."""
    entry = describe(HookRan("payments", HOOK, HookResult.OK, 0.1, "2 workers reloaded"))
    assert entry.level == logging.INFO
    assert entry.fields["message"] == "2 workers reloaded"


def test_a_denial_tells_who_was_denied_what() -> None:
    """An operator either adds them to the app's `access` or asks them what they wanted there."""
    entry = describe(AccessDenied("payments", "/run/api.sock", 1000, 100, 42, "web.service"))
    assert entry.fields == {
        "app": "payments",
        "socket": "/run/api.sock",
        "uid": 1000,
        "gid": 100,
        "pid": 42,
        "unit": "web.service",
    }


def test_one_users_denials_do_not_hide_anothers() -> None:
    """A looping client is told of once in a while, the burglar beside it all the same."""
    scopes = {
        describe(AccessDenied(app, "api", uid, 0, pid, "")).scope
        for app, uid, pid in [("a", 1, 7), ("a", 1, 8), ("a", 2, 7), ("b", 1, 7)]
    }
    assert len(scopes) == 3


def test_only_trouble_has_a_scope() -> None:
    """What repeats by nature, like a refresh, must not be taken for a repetition."""
    troubled = {e.event for e in (describe(event) for event, *_ in EVENTS) if e.scope is not None}
    assert troubled == {
        "refresh failed",
        "login withheld",
        "entity mismatch",
        "session not ended",
        "output failed",
        "hook failed",
        "access denied",
        "connection refused",
        "cannot accept connections",
        "app crashed",
        "event loop lagged",
    }
