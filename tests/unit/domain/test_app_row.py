"""An app's status in words: what people read must be what the fields say."""

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.app_row import AppRow
from support.app_fields import NOW, failing, fresh, stamp, starting

OUTPUT = {
    "path": "/run/a",
    "current": True,
    "generation": 7,
    "valid": True,
    "expires_at": stamp(NOW + 100),
    "written_at": stamp(NOW - 5),
    "error": None,
}
HOOK = {
    "name": "hooks[0] systemctl",
    "result": "ok",
    "ran_at": stamp(NOW - 5),
    "duration_seconds": 0.2,
    "message": None,
}

JSON = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
VALUES = JSON | st.lists(JSON, max_size=2) | st.dictionaries(st.text(max_size=5), JSON, max_size=2)


def row(fields: dict[str, Any], now: float = NOW) -> AppRow:
    """Return an app at a time."""
    return AppRow(fields, now)


def test_a_token_is_shown_with_its_times() -> None:
    """These three numbers answer how long there is time to repair something."""
    app = row(fresh())
    times = (app.expires_in, app.next_refresh_in, app.outage_budget)
    assert times == ("7m 11s", "2m 11s", "5m 00s")
    assert app.life_text == "7m 11s of 10m 00s left, next refresh in 2m 11s, outage budget 5m 00s"


def test_the_bar_has_the_tokens_own_times() -> None:
    """A token that was kept alive was issued long ago, but its life began anew."""
    life = row(fresh(issued_at=stamp(NOW - 9000))).life
    assert life is not None
    assert life.now == pytest.approx(169 / 600)
    assert life.budget == 0.5
    assert life.refresh == pytest.approx(0.5)


def test_times_agree_however_far_the_second_has_gone() -> None:
    """The dates are in whole seconds, so a token would seem to be shorter than it is."""
    assert row(fresh(), NOW + 0.9).expires_in == "7m 11s"


def test_an_app_without_a_token_has_no_times() -> None:
    """An empty cell would look like a fault of the table."""
    app = row(starting("payments"))
    assert (app.expires_in, app.next_refresh_in, app.outage_budget) == ("-", "-", "-")
    assert app.life is None
    assert app.life_text == "No valid token"
    assert not app.valid
    assert row(fresh(next_refresh_at=stamp(NOW))).next_refresh_in == "now"


def test_an_expired_token_says_since_when() -> None:
    """It says how long consumers have been without a token."""
    app = row(fresh(state="expired", troubled=True, expires_at=stamp(NOW - 184)))
    assert app.expires_in == "3m 04s ago"
    assert app.life_text == "No valid token, expired 3m 04s ago"
    assert next(app.trouble) == "Consumers have had no valid token for 3m 04s."


def test_trouble_says_what_it_means_for_consumers_what_it_is_and_what_to_do() -> None:
    """These are the questions of an operator at night, in this order."""
    assert list(row(failing()).trouble) == [
        "Consumers have a valid token for another 7m 11s.",
        "connect: refused",
        (
            "3 attempts have failed since 22:12:18 UTC (1m 02s ago), the last one 2s ago. "
            "The next attempt is in 8s."
        ),
        "What to do: check endpoint, proxy, DNS and the firewall",
    ]


def test_a_single_failure_is_no_series() -> None:
    """Its only time would otherwise be said twice."""
    once = failing(consecutive_failures=1, failing_since=stamp(NOW - 2), next_refresh_at=None)
    assert row(once).since == "The attempt at 22:13:18 UTC (2s ago) failed."
    due = row(failing(next_refresh_at=stamp(NOW)))
    assert due.since.endswith("The next attempt is due.")


def test_consumers_of_a_refused_app_may_still_have_a_token() -> None:
    """A refused login ends no session, so there is time left."""
    app = row(failing(state="rejected"))
    assert app.expires_in == "7m 11s"
    assert app.consequence == "Consumers have a valid token for another 7m 11s."
    assert row(starting("a")).consequence == "Consumers have no token yet."


def test_a_session_that_dsm_ended_left_consumers_without_a_token() -> None:
    """There was a token, so "yet" would be false; the first failed attempt found it out."""
    ended = failing(state="rejected", expires_at=None, lifetime_seconds=None, generation=3)
    app = row(ended | {"failing_since": stamp(NOW - 60)})
    assert app.consequence == ("Consumers have had no valid token since 22:12:20 UTC (1m 00s ago).")
    assert (app.life, app.no_life, row(starting("a")).no_life) == (None, "no token", "no token yet")


def test_an_output_that_lags_has_less_time_left_than_the_app() -> None:
    """Its consumers read the token before, which expires sooner."""
    late = OUTPUT | {"current": False, "error": "/run/a: disk full"}
    app = row(failing(outputs=[OUTPUT, late | {"expires_at": stamp(NOW + 50)}]))
    assert app.consequence == "Consumers of /run/a have a valid token for another 50s."
    well = row(failing(outputs=[OUTPUT | {"expires_at": stamp(NOW + 50)}]))
    assert well.consequence == "Consumers have a valid token for another 7m 11s."


def test_an_output_that_holds_an_expired_token_says_so() -> None:
    """It holds the newest token, and that helps nobody."""
    (output,) = row(failing(outputs=[OUTPUT | {"valid": False}])).outputs
    assert "holds the newest token, which has expired" in output.holds


def test_outputs_and_hooks_are_troubles_of_their_own() -> None:
    """The session is fresh, but a directory or a program may be missing on the host."""
    late = OUTPUT | {"current": False, "generation": 6, "error": "/run/b: busy", "path": "/run/b"}
    output = OUTPUT | {"current": False, "valid": False, "error": "/run/a: disk full"}
    hook = HOOK | {"result": "timeout"}
    app = row(
        fresh(ready=False, troubled=True, outputs=[late, output], hooks=[hook], remedy="repair it")
    )
    assert list(app.trouble) == [
        "Consumers of /run/a have no valid token.",
        "/run/b: busy",
        "/run/a: disk full",
        "hooks[0] systemctl: timeout",
        "What to do: repair it",
    ]
    assert app.brief == "/run/b: busy; /run/a: disk full; hooks[0] systemctl: timeout"


def test_a_healthy_app_has_no_trouble() -> None:
    """An output that is a moment late is named, but nobody has to do anything about it."""
    assert (list(row(fresh()).trouble), row(fresh()).brief) == ([], "")
    older = OUTPUT | {"current": False, "generation": 6}
    late = row(fresh(ready=False, outputs=[older]))
    assert (list(late.trouble), late.brief) == ([], "an output does not hold the token")
    assert not row(starting("a")).brief
    assert not row(fresh(ready=True, outputs=[older])).brief, "it is being updated"
    assert not row(fresh(ready=False, outputs=[OUTPUT])).brief, "the token is about to expire"


def test_details_say_what_outputs_hold_and_who_asked() -> None:
    """Before somebody changes an app, they want to know who depends on it."""
    older = OUTPUT | {"path": "/run/b", "current": False, "generation": 6, "written_at": None}
    empty = older | {"path": "/run/c", "generation": None}
    failed = HOOK | {"name": "hooks[1] reload", "result": "failed", "message": "exit status 1"}
    never = {"name": "hooks[2] logger", "result": None, "ran_at": None, "duration_seconds": None}
    consumers = [
        {"uid": 33, "user": "www-data", "unit": "web.service", "asked_at": stamp(NOW - 20)},
        {"uid": 1000, "user": None, "unit": None, "asked_at": stamp(NOW)},
    ]
    app = row(
        fresh(
            outputs=[OUTPUT, older, empty],
            hooks=[HOOK, failed, never],
            consumers=consumers,
            refused_logins=3,
            refused_logins_limit=50,
        )
    )
    assert dict(app.details) == {
        "/run/a": "holds the newest token, written 5s ago",
        "/run/b": "holds token 6",
        "/run/c": "holds no token",
        "hooks[0] systemctl": "ok 5s ago, took 0.2 s",
        "hooks[1] reload": "failed 5s ago, took 0.2 s",
        "hooks[2] logger": "has not run yet",
        "consumer www-data in web.service": "asked 20s ago",
        "consumer uid 1000": "asked just now",
        "endpoint": "https://amer.smartkey.io",
        "renewed by": "reauth",
        "generation": "7",
        "last refresh": "2m 49s ago",
        "refused logins": "3 of 50 allowed within 24 hours",
    }
    assert [hook.message for hook in app.hooks] == ["", "exit status 1", ""]
    assert app.summary == "3 outputs, 3 hooks, 2 consumers on sockets"
    assert row(fresh(outputs=[OUTPUT])).summary == "1 output"


def test_what_does_not_exist_is_no_detail() -> None:
    """A kind of credential that DSM does not count has no refused logins."""
    details = dict(row(starting("a")).details)
    assert details == {
        "endpoint": "https://amer.smartkey.io",
        "renewed by": "reauth",
        "generation": "-",
    }


@pytest.mark.parametrize("number", [inf, nan])
def test_what_is_no_number_of_seconds_is_refused(number: float) -> None:
    """Python reads NaN and Infinity in JSON, and would stumble over them later."""
    with pytest.raises(ValueError, match="seconds"):
        row(fresh(lifetime_seconds=number))


@given(st.sampled_from(sorted(fresh())), VALUES)
def test_any_value_is_read_or_refused_at_once(member: str, value: object) -> None:
    """A daemon of another version must not end a command in a traceback half-way."""
    try:
        app = row(failing(**{member: value}))
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
        return
    assert isinstance(app.expires_in + app.next_refresh_in + app.outage_budget + app.since, str)
    assert all(isinstance(line, str) for line in (*app.trouble, app.brief, app.summary))
    assert all(isinstance(text, str) for pair in app.details for text in pair)
    assert app.life is None or len(app.life.cells(20)) == 20
