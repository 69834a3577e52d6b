"""The entry of each event: the name and fields that operators search their logs for."""

import logging
from typing import get_args

import pytest

from refresherd.adapters.logs.entries import describe
from refresherd.domain import events
from refresherd.domain.events import Event
from refresherd.domain.labels import HookResult
from support.logged_events import ENDING_TROUBLE, FAILED, HOOK, LOGGED, RENEWED, REQUEST, URL


@pytest.mark.parametrize(("event", "level", "name"), LOGGED)
def test_each_event_has_its_name_and_level(event: Event, level: int, name: str) -> None:
    """Alerts depend on both."""
    entry = describe(event)
    assert (entry.level, entry.event) == (level, name)
    if hasattr(event, "app"):
        assert entry.fields["app"] == "payments"


def test_a_warning_about_no_app_has_no_app_field() -> None:
    """An empty name would look like another app to a filter."""
    assert describe(events.Warned("the disk is full")).fields == {"message": "the disk is full"}


def test_a_refused_web_configuration_is_one_line() -> None:
    """It names every fault, as `check` does."""
    entry = describe(events.WebConfigRefused(("web.yml:1: x", "web.yml:2: y")))
    assert entry.fields == {"message": "web.yml:1: x; web.yml:2: y"}


def test_the_list_has_every_event() -> None:
    """The other tests depend on it."""
    assert {type(event) for event, _, _ in LOGGED} == set(get_args(Event))


def test_a_renewal_has_what_an_operator_needs_next() -> None:
    """That is the expiry, the next refresh, and the request id for DSM's support."""
    assert describe(RENEWED).fields == {
        "app": "payments",
        "method": "reauth",
        "duration": 0.021,
        "generation": 1207,
        "expires_at": 1600,
        "next_refresh_at": 1300,
        "request_id": REQUEST,
    }


def test_a_failure_has_its_cause_and_what_happens_next() -> None:
    """A line that only says that something failed does not help at night."""
    assert describe(FAILED).fields == {
        "app": "payments",
        "method": "auth",
        "reason": "connect",
        "message": "cannot connect to amer.smartkey.io:443: connection refused",
        "duration": 0.5,
        "failures": 12,
        "next_refresh_at": 1030,
        "endpoint": URL,
        "request_id": REQUEST,
    }


@pytest.mark.parametrize("event", ENDING_TROUBLE)
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
    troubled = {e.event for e in (describe(event) for event, *_ in LOGGED) if e.scope is not None}
    assert troubled == {
        "refresh failed",
        "login withheld",
        "entity mismatch",
        "session not ended",
        "output failed",
        "hook failed",
        "handshake failed",
        "access denied",
        "access undecided",
        "connection refused",
        "cannot accept connections",
        "app crashed",
        "event loop lagged",
    }
