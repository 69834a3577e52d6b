"""The demo shows what the daemon's API says, and a line for each thing that happened."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from refresherd.demo.status import AppStatus, Picture, Reads, plural, span, summary, whole_span

NOW = 1_000.0
"""Unix seconds, a while after the instants below."""

FIRST = AppStatus(
    "a",
    "fresh",
    generation=1,
    issued_at=990.0,
    expires_at=1010.0,
    next_refresh_at=1000.0,
    method="login",
    logins=1,
)


def answer(**changed: object) -> dict[str, Any]:
    """Return an app's object of `GET /v1/apps`: FIRST but for what has changed."""
    return {
        "name": "a",
        "state": "fresh",
        "generation": 1,
        "issued_at": "1970-01-01T00:16:30Z",
        "expires_at": "1970-01-01T00:16:50Z",
        "next_refresh_at": "1970-01-01T00:16:40Z",
        "consecutive_failures": 0,
        "last_error": None,
        **changed,
    }


SECOND = {
    "generation": 2,
    "issued_at": "1970-01-01T00:16:40Z",
    "expires_at": "1970-01-01T00:17:00Z",
    "next_refresh_at": "1970-01-01T00:16:50Z",
}
FAILED = {
    "state": "retrying",
    "next_refresh_at": "1970-01-01T00:16:41Z",
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
        "a: token 1 by login, good for 10 s; next refresh in 0 s",
        "a: starting -> fresh",
    ]


def test_a_refresh_is_reported_with_its_method() -> None:
    """Reauth without a login is what the daemon is for, so a viewer must see which it was."""
    assert lines(FIRST, SECOND) == ["a: token 2 by reauth, good for 20 s; next refresh in 10 s"]


def test_a_login_that_dsm_grants_before_the_daemon_reports_it_is_a_login() -> None:
    """A look may fall between DSM's answer and the daemon's publication of the token."""
    logging_in, _ = AppStatus("a").followed_by(answer(state="starting", **NO_TOKEN), 1, NOW)
    assert lines(logging_in)[0].startswith("a: token 1 by login")


def test_a_failure_is_reported_with_what_is_left() -> None:
    """A reader of a failure wants to know whether consumers still have a valid token."""
    assert lines(FIRST, FAILED) == [
        "a: failed (timeout), token still good for 10 s; next attempt in 1 s",
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
        "a: failed (rejected), no valid token; next attempt in -",
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
    before = replace(FIRST, failures=3, state="retrying")
    token, failed = lines(before, {**FAILED, **SECOND})
    assert "token 2" in token
    assert "failed (timeout)" in failed


def test_a_login_in_place_of_a_valid_token_means_that_its_session_was_lost() -> None:
    """The daemon finds that out and logs in within milliseconds, too fast for any look."""
    after, events = FIRST.followed_by(answer(**SECOND), 2, NOW)
    assert events == [
        "a: failed (session_lost), no valid token; next attempt at once",
        "a: token 2 by login, good for 20 s; next refresh in 10 s",
    ]
    assert after.all_failures == 1


@pytest.mark.parametrize(
    "before", [replace(FIRST, state="retrying", failures=1), replace(FIRST, expires_at=999.0)]
)
def test_other_logins_are_no_lost_session(before: AppStatus) -> None:
    """After a failed reauth, or once a token has expired, a login is what the daemon does."""
    assert [line for line in lines(before, SECOND, 2) if "session_lost" in line] == []


def test_a_token_that_has_expired_has_nothing_left() -> None:
    """The API goes on naming its expiry, but there is nothing left to show."""
    assert FIRST.left(1010.0) is None
    assert FIRST.left(1009.0) == 1.0
    assert FIRST.next_in(1001.0) == 0.0


PICTURE = Picture(
    "https://x", (replace(FIRST, generation=4, all_failures=2),), NOW, Reads(31, 1), elapsed=8.04
)


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


def test_the_summary_counts_everything() -> None:
    """Scripts and people look here for whether it worked."""
    assert summary(PICTURE) == (
        "summary after 8.0 s\n"
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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.0, "0.0 s"),
        (9.26, "9.3 s"),
        (100.0, "1m 40s"),
        (3599.9, "59m 59s"),
        (7500.0, "2h 05m"),
    ],
)
def test_times_are_short(seconds: float | None, words: str) -> None:
    """Tenths matter in the last seconds of a token, and nowhere else."""
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.0, "0 s"), (0.2, "1 s"), (9.26, "10 s"), (100.0, "1m 40s")],
)
def test_times_of_the_api_have_no_tenths(seconds: float | None, words: str) -> None:
    """The API rounds them down to seconds, so the true time is at most one more."""
    assert whole_span(seconds) == words


def test_one_is_not_many() -> None:
    """Sloppy grammar makes a newcomer doubt the numbers, too."""
    assert [plural(n, "app") for n in (0, 1, 2)] == ["0 apps", "1 app", "2 apps"]
    assert plural(2, "refresh", "es") == "2 refreshes"
