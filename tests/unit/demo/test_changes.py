"""A line for each thing that happened, and none for what did not."""

from dataclasses import replace

from refresherd.demo.changes import Change, Failed, Refreshed, Turned, changes
from refresherd.demo.picture import with_results
from refresherd.demo.snapshot import AppView, Snapshot

FIRST = AppView(
    "a",
    "fresh",
    generation=1,
    issued_at=1000.0,
    expires_at=1020.0,
    next_refresh_at=1009.0,
    attempts={"auth": 1, "reauth": 0},
    failures={("auth", "timeout"): 0, ("reauth", "timeout"): 0},
)
SECOND = replace(
    FIRST,
    generation=2,
    issued_at=1009.0,
    expires_at=1029.0,
    next_refresh_at=1018.0,
    attempts={"auth": 1, "reauth": 1},
)
FAILED_ONCE = replace(
    FIRST,
    state="retrying",
    next_refresh_at=1010.5,
    consecutive_failures=1,
    attempts={"auth": 1, "reauth": 1},
    failures={("auth", "timeout"): 0, ("reauth", "timeout"): 1},
)


def between(before: AppView | None, after: AppView, now: float = 1010.0) -> tuple[Change, ...]:
    """Return the changes of a single app."""
    return changes(Snapshot(0.0, (before,) if before else ()), Snapshot(now, (after,)))


def test_nothing_happened_while_time_passes() -> None:
    """The same app a moment later is no news."""
    assert between(FIRST, FIRST) == ()


def test_the_first_token_is_a_login_and_a_turn() -> None:
    """An app that was not known before begins without a token."""
    assert between(None, FIRST) == (
        Refreshed("a", "auth", 1, left=10.0, next_in=0.0, at=1000.0),
        Turned("a", "starting", "fresh"),
    )


def test_a_refresh_is_told_with_its_method() -> None:
    """A reauth must be told from a login: that is what the daemon is for."""
    assert between(FIRST, SECOND) == (
        Refreshed("a", "reauth", 2, left=19.0, next_in=8.0, at=1009.0),
    )


def test_an_attempt_under_way_at_the_last_look_is_known_by_the_state() -> None:
    """A request counts as an attempt before it is answered, so the counters need not grow."""
    logging_in = AppView("a", attempts={"auth": 1})
    reauthenticating = replace(FIRST, attempts={"auth": 1, "reauth": 1})
    methods = [
        change.method
        for before, after in ((logging_in, FIRST), (reauthenticating, SECOND))
        for change in between(before, after)
        if isinstance(change, Refreshed)
    ]
    assert methods == ["auth", "reauth"]


def test_a_failure_is_told_with_what_is_left() -> None:
    """Who reads of a failure wants to know whether consumers are still served."""
    assert between(FIRST, FAILED_ONCE) == (
        Failed("a", "timeout", 1, left=10.0, next_in=0.5),
        Turned("a", "fresh", "retrying"),
    )


def test_each_reason_is_told_once() -> None:
    """Several failures between two looks are one line for each reason, in any method."""
    worse = replace(
        FAILED_ONCE,
        consecutive_failures=4,
        failures={("auth", "timeout"): 1, ("reauth", "timeout"): 2, ("reauth", "tls"): 1},
    )
    reasons = [
        change.reason for change in between(FAILED_ONCE, worse) if isinstance(change, Failed)
    ]
    assert sorted(reasons) == ["timeout", "tls"]


def test_a_lost_session_comes_before_the_login_that_follows() -> None:
    """Between two looks a refresh may fail and a login succeed: then the login is the result."""
    recovered = replace(
        FIRST,
        generation=2,
        attempts={"auth": 2, "reauth": 1},
        failures={("reauth", "session_lost"): 1},
    )
    lost, regained = between(FIRST, recovered)
    assert isinstance(lost, Failed)
    assert lost.reason == "session_lost"
    assert isinstance(regained, Refreshed)
    assert regained.method == "auth"


def test_a_failure_that_still_counts_is_the_last_result() -> None:
    """A token and then a failure between two looks: what failed is what there is to see."""
    after = replace(SECOND, consecutive_failures=1, failures={("reauth", "timeout"): 1})
    found = between(FIRST, after)
    assert [type(change) for change in found] == [Refreshed, Failed]
    assert isinstance(with_results({}, found)["a"], Failed)


def test_a_token_of_unknown_age_is_as_old_as_the_look() -> None:
    """DSM may declare a token dead before it was ever seen."""
    (refreshed,) = between(FIRST, replace(SECOND, issued_at=None, expires_at=None))
    assert refreshed == Refreshed("a", "reauth", 2, left=None, next_in=8.0, at=1010.0)


def test_a_turn_of_the_state_is_no_result() -> None:
    """What last became of an app outlives the news that follow it."""
    results = with_results({}, between(None, FIRST))
    assert with_results(results, [Turned("a", "fresh", "expired")]) == results
