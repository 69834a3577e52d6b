"""The line in `systemctl status`: what an operator learns from it alone."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.systemd.reporter import MAX_LINE, Report, report, summary
from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.model import Instant, Timing
from refresherd.domain.readiness import AppStatus, OutputStatus, Ready
from support.fakes import FakeClock, grants

CLOCK = FakeClock(1000.0, offset=1_700_000_000.0)
NOW = CLOCK.now()
TIMING = Timing()
BEGUN = session_state.begin(NOW)
FRESH = session_state.granted(BEGUN, next(grants(600.0)), NOW, TIMING, 0.0)


def line(*reports: Report, waits_for: Ready | None = None, refused: str = "") -> str:
    """Return the line about some apps."""
    return summary(reports, CLOCK, waits_for=waits_for, refused=refused)


def app(name: str, trouble: str = "", *, at: float = 1300.0, settled: bool = False) -> Report:
    """Return a report."""
    return Report(name, not trouble, settled or not trouble, trouble, Instant(at))


def test_the_next_refresh_is_a_date() -> None:
    """A number of seconds would be wrong a minute later."""
    text = line(app("a", at=1300.0), app("b", at=1260.0))
    assert text == "2 of 2 fresh; next refresh at 2023-11-14T22:34:20Z"


def test_an_app_in_trouble_is_named_with_its_cause() -> None:
    """`systemctl status` is the first place where an operator looks."""
    text = line(app("a"), app("b", "no valid token (rejected): key refused"))
    assert text.startswith("1 of 2 fresh; b: no valid token (rejected): key refused; ")


def test_during_the_start_the_line_says_what_is_missing() -> None:
    """`systemctl start` blocks meanwhile, and `systemctl status` must show why."""
    text = line(app("a", "no valid token (starting): connect: refused"), waits_for=Ready.ALL)
    wanted = "starting: 0 of 1 fresh; waiting for a: no valid token (starting): connect: refused"
    assert text.startswith(wanted)


def test_the_apps_that_hold_up_the_start_come_first() -> None:
    """With hundreds of refused keys, the one endpoint that is waited for must not be cut off."""
    refused = [app(f"app{number}", "key refused", settled=True) for number in range(9)]
    reports = [*refused, app("late", "connection refused")]
    text = line(*reports, waits_for=Ready.SETTLED)
    wanted = "starting: 0 of 10 fresh; waiting for late: connection refused; app0: key refused; "
    assert text.startswith(wanted)
    assert "waiting for app0: key refused" in line(*reports, waits_for=Ready.ALL)
    assert "waiting" not in line(*reports)


def test_an_app_in_trouble_that_is_served_holds_up_nothing() -> None:
    """Its consumers have a token, so the start does not wait for the app."""
    served = Report("a", True, True, "retrying: connect: refused", Instant(1300))  # noqa: FBT003  # as the fields are
    assert "waiting" not in line(served, app("b", "x"), waits_for=Ready.SETTLED).split("; a: ")[1]


def test_a_refused_configuration_is_named_first() -> None:
    """`systemctl reload` succeeds all the same, so only this line shows the refusal."""
    text = line(app("a"), refused="config.toml:3: apps.a.files: …")
    assert text.startswith("configuration refused: config.toml:3: apps.a.files: …; 1 of 1 fresh; ")


def test_of_many_apps_in_trouble_a_few_are_named() -> None:
    """A thousand names would hide the rest of the line, and systemd accepts 4096 bytes."""
    text = line(*(app(f"app{number}", "x" * 160) for number in range(1000)))
    assert "app2: " in text
    assert "app3: " not in text
    assert "; and 997 more in trouble; " in text


@given(st.lists(st.text(), max_size=5), st.text())
def test_no_text_breaks_the_line_or_the_datagram(troubles: list[str], refused: str) -> None:
    """A text from DSM, or a path, must add no assignment to the datagram, nor make it too long."""
    reports = [app(f"app{number}", trouble) for number, trouble in enumerate(troubles)]
    text = line(*reports, refused=refused)
    assert text.isprintable()
    assert len(text) <= MAX_LINE
    assert len(text.encode()) < 4000


def test_a_report_has_the_readiness_of_its_app() -> None:
    """READY depends on the number of ready apps."""
    behind = AppStatus("a", FRESH, (OutputStatus("/run/a", None, "no space left"),))
    assert report(AppStatus("a", FRESH), NOW) == app("a", at=1300.0)
    assert report(AppStatus("a", BEGUN), NOW).trouble == "no valid token (starting)"
    found = report(behind, NOW)
    assert (found.served, found.trouble) == (
        False,
        "/run/a does not hold the newest token: no space left",
    )


def test_a_token_that_is_about_to_expire_is_served_and_in_trouble() -> None:
    """A start during an outage does not wait for the end of it."""
    assert FRESH.token is not None
    late = Instant(FRESH.token.expires_at - 1.0)
    found = report(AppStatus("a", FRESH), late)
    assert (found.served, found.settled) == (True, True)
    assert found.trouble == "the token is about to expire, and its refresh is overdue"


def test_a_ready_app_may_be_in_trouble() -> None:
    """Its consumers notice nothing yet, but its operator should."""
    error = Retryable(Reason.CONNECT, "refused\nSTATUS=forged")
    session = session_state.failed(FRESH, error, NOW, TIMING, 0.0)
    found = report(AppStatus("a", session), NOW)
    assert (found.served, found.trouble) == (True, "retrying: connect: refused STATUS=forged")
    rejected = session_state.failed(BEGUN, Rejected(Reason.REJECTED, "no"), NOW, TIMING, 0.0)
    assert "rejected" in report(AppStatus("a", rejected), NOW).trouble
    assert report(AppStatus("a", replace(session, last_failure=None)), NOW).trouble == "retrying"
