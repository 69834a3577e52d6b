"""The demo shows what the daemon's API says, and a line for each thing that happened."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from refresherd.demo.status import AppStatus, Picture, Reads, summary
from support.app_fields import fresh, stamp

NOW = 1_000.0
"""Unix seconds, a while after the instants below."""


def answer(**changed: object) -> dict[str, Any]:
    """Return an app's object of `GET /v1/apps`: FIRST but for what has changed."""
    times = {
        "generation": 1,
        "issued_at": stamp(990),
        "expires_at": stamp(1010),
        "next_refresh_at": stamp(1000),
        "lifetime_seconds": 20.0,
        "outage_budget_seconds": 10.0,
    }
    return fresh("a", **{**times, **changed})


FIRST = AppStatus("a", answer(), method="login", logins=1)

SECOND = {
    "generation": 2,
    "issued_at": stamp(1000),
    "expires_at": stamp(1020),
    "next_refresh_at": stamp(1010),
}
FAILED = {
    "state": "retrying",
    "next_refresh_at": stamp(1001),
    "consecutive_failures": 1,
    "last_error": "timeout: no answer within 20 s",
}
NO_TOKEN = {"generation": 0, "issued_at": None, "expires_at": None, "next_refresh_at": None}
UNCHANGED: Mapping[str, object] = {}


def lines(
    before: AppStatus, changed: Mapping[str, object] = UNCHANGED, logins: int = 1
) -> list[str]:
    """Return the events of an app after one look at it."""
    return before.followed_by(answer(**changed), logins, NOW)[1]


def test_every_field_of_the_answer_is_read() -> None:
    """A viewer must see the daemon's own numbers."""
    after, _ = AppStatus("a").followed_by(answer(), 1, NOW)
    assert after == FIRST


def test_nothing_happened_while_time_passes() -> None:
    """The same app a moment later is no news."""
    assert lines(FIRST) == []


def test_the_first_token_is_a_login() -> None:
    """An app starts without a token."""
    assert lines(AppStatus("a")) == [
        "a: token 1 by login, good for 10s; next refresh due",
        "a: starting -> fresh",
    ]


def test_a_refresh_is_reported_with_its_method() -> None:
    """Reauth without a login is what the daemon is for, so a viewer must see which it was."""
    assert lines(FIRST, SECOND) == ["a: token 2 by reauth, good for 20s; next refresh in 10s"]


def test_a_login_that_dsm_grants_before_the_daemon_reports_it_is_a_login() -> None:
    """A look may fall between DSM's answer and the daemon's publication of the token."""
    logging_in, _ = AppStatus("a").followed_by(answer(state="starting", **NO_TOKEN), 1, NOW)
    assert lines(logging_in)[0].startswith("a: token 1 by login")


def test_a_failure_is_reported_with_what_is_left() -> None:
    """A reader of a failure wants to know whether consumers still have a valid token."""
    assert lines(FIRST, FAILED) == [
        "a: failed (timeout), token still good for 10s; next attempt in 1s",
        "a: fresh -> retrying",
    ]


def test_a_failure_without_a_token_says_so() -> None:
    """Then consumers have nothing, which is worse than a failure alone."""
    rejected = {
        **NO_TOKEN,
        "state": "rejected",
        "consecutive_failures": 1,
        "last_error": "rejected: 401",
    }
    assert lines(AppStatus("a"), rejected) == [
        "a: failed (rejected), no valid token; next attempt not planned",
        "a: starting -> rejected",
    ]


def test_failures_are_counted_once_each() -> None:
    """Several failures between two looks are one line, but all of them count."""
    once, _ = FIRST.followed_by(answer(**FAILED), 1, NOW)
    worse = {**FAILED, "consecutive_failures": 4}
    after, events = once.followed_by(answer(**worse), 1, NOW)
    assert len(events) == 1
    assert (once.all_failures, after.all_failures) == (1, 4)
    assert after.followed_by(answer(**worse), 1, NOW) == (after, [])


def test_a_failure_after_a_new_token_is_the_last_line() -> None:
    """A token and then a failure between two looks: the failure is what still matters."""
    before = replace(FIRST, fields=answer(state="retrying", consecutive_failures=3))
    token, failed = lines(before, {**FAILED, **SECOND})
    assert "token 2" in token
    assert "failed (timeout)" in failed


def test_a_login_in_place_of_a_valid_token_means_that_its_session_was_lost() -> None:
    """The daemon finds that out and logs in within milliseconds, too fast for any look."""
    after, events = FIRST.followed_by(answer(**SECOND), 2, NOW)
    assert events == [
        "a: failed (session_lost), no valid token; next attempt at once",
        "a: token 2 by login, good for 20s; next refresh in 10s",
    ]
    assert after.all_failures == 1


@pytest.mark.parametrize("changed", [FAILED, {"expires_at": stamp(999)}])
def test_other_logins_are_no_lost_session(changed: Mapping[str, object]) -> None:
    """After a failed reauth, or once a token has expired, a login is what the daemon does."""
    before = replace(FIRST, fields=answer(**changed))
    assert [line for line in lines(before, SECOND, 2) if "session_lost" in line] == []


FOURTH = replace(FIRST, fields=answer(generation=4), all_failures=2)
PICTURE = Picture("https://x", (FOURTH,), NOW, Reads(31, 1), elapsed=8.04)


def test_a_daemon_that_does_not_answer_is_shown_as_last_seen() -> None:
    """It takes a moment to start, and something has to be shown until then."""
    assert PICTURE.followed_by([], {}, NOW + 1) == (replace(PICTURE, now=NOW + 1), [])


def test_a_picture_follows_every_app() -> None:
    """The apps keep their order, and an unknown one is added."""
    one, other = answer(name="one", **NO_TOKEN), answer(name="other", **SECOND)
    picture, events = Picture("https://x", (AppStatus("one"),), NOW).followed_by(
        [one, other], {"one": 1}, NOW
    )
    assert [app.name for app in picture.apps] == ["one", "other"]
    assert [line.split(":")[0] for line in events] == ["one", "other", "other"]


def test_apps_in_trouble_are_shown_first() -> None:
    """As on the status page; apps of which the daemon has said nothing are not shown."""
    failed = AppStatus("b", answer(name="b", troubled=True, **FAILED))
    picture = replace(PICTURE, apps=(FIRST, AppStatus("c"), failed))
    assert [row.name for row in picture.rows] == ["b", "a"]


def test_the_summary_counts_everything() -> None:
    """Scripts and people look here for whether it worked."""
    assert summary(PICTURE) == (
        "summary after 8s\n"
        "  apps       1\n"
        "  refreshes  3\n"
        "  failures   2\n"
        "  reads      31 by the built-in consumer, 1 refused by DSM"
    )


def test_the_summary_names_the_apps_that_never_got_a_token() -> None:
    """The exit status says that something is wrong; the summary has to say with what."""
    picture = replace(PICTURE, apps=(FIRST, AppStatus("b"), AppStatus("c")))
    assert summary(picture).endswith("\n  no token   b, c")
    assert picture.refreshes == 0
