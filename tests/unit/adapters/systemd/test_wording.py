"""The line in `systemctl status`: what an operator learns from it alone."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.systemd.wording import LONGEST, Report, report, summary
from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.model import Instant, Timing
from refresherd.domain.readiness import AppStatus, OutputStatus, Ready, enough
from support.fakes import FakeClock, grants

CLOCK = FakeClock(1000.0, offset=1_700_000_000.0)
NOW = CLOCK.now()
TIMING = Timing()
BEGUN = session_state.begin(NOW)
FRESH = session_state.granted(BEGUN, next(grants(600.0)), NOW, TIMING, 0.0)


def line(*reports: Report, starting: bool = False, refused: str = "") -> str:
    """Return the line about some apps."""
    return summary(reports, CLOCK, starting=starting, refused=refused)


def app(name: str, trouble: str = "", *, at: float = 1300.0) -> Report:
    """Return a report."""
    return Report(name, not trouble, trouble, Instant(at))


def test_the_next_refresh_is_told_as_a_date() -> None:
    """A count of seconds would be wrong for whoever reads it a minute later."""
    message = line(app("a", at=1300.0), app("b", at=1260.0))
    assert message == "2 of 2 fresh; next refresh at 2023-11-14T22:34:20Z"


def test_who_is_in_trouble_is_named_with_its_cause() -> None:
    """`systemctl status` is the first place to look, and should be the last."""
    message = line(app("a"), app("b", "no valid token (rejected): rejected: key refused"))
    assert message.startswith("1 of 2 fresh; b: no valid token (rejected): rejected: key refused; ")


def test_a_start_says_what_it_waits_for() -> None:
    """`systemctl start` blocks meanwhile, and another terminal must tell why."""
    message = line(app("a", "no valid token (starting): connect: refused"), starting=True)
    assert message.startswith(
        "starting: 0 of 1 fresh; a: no valid token (starting): connect: refused"
    )


def test_a_refused_configuration_is_named_first() -> None:
    """`systemctl reload` says that it was done: only this line tells that it was not taken over."""
    message = line(app("a"), refused="config.toml:3: apps.a.files: …")
    assert message.startswith(
        "configuration refused: config.toml:3: apps.a.files: …; 1 of 1 fresh; "
    )


def test_of_many_in_trouble_a_few_are_named() -> None:
    """A thousand names would hide the rest of the line, and systemd takes 4096 bytes."""
    message = line(*(app(f"app{number}", "x" * 160) for number in range(1000)))
    assert "app2: " in message
    assert "app3: " not in message
    assert "; and 997 more in trouble; " in message


@given(st.lists(st.text(), max_size=5), st.text())
def test_no_text_breaks_the_line_or_the_datagram(troubles: list[str], refused: str) -> None:
    """What DSM or a path brings in must not add assignments to the datagram, nor burst it."""
    reports = [app(f"app{number}", trouble) for number, trouble in enumerate(troubles)]
    message = line(*reports, refused=refused)
    assert message.isprintable()
    assert len(message) <= LONGEST
    assert len(message.encode()) < 4000


def test_a_report_tells_an_app_that_is_served_from_one_that_is_not() -> None:
    """READY counts apps by it."""
    behind = AppStatus("a", FRESH, (OutputStatus("/run/a", None, "no space left"),))
    assert report(AppStatus("a", FRESH), NOW) == app("a", at=1300.0)
    assert report(AppStatus("a", BEGUN), NOW).trouble == "no valid token (starting)"
    message = report(behind, NOW)
    assert (message.served, message.trouble) == (
        False,
        "/run/a does not hold the newest token: no space left",
    )


def test_an_app_that_is_served_and_in_trouble_says_both() -> None:
    """Its consumers notice nothing yet, and its operator should."""
    error = Retryable(Reason.CONNECT, "refused\nSTATUS=forged")
    session = session_state.failed(FRESH, error, NOW, TIMING, 0.0)
    message = report(AppStatus("a", session), NOW)
    assert (message.served, message.trouble) == (True, "retrying: connect: refused STATUS=forged")
    rejected = session_state.failed(BEGUN, Rejected(Reason.REJECTED, "no"), NOW, TIMING, 0.0)
    assert "rejected" in report(AppStatus("a", rejected), NOW).trouble
    assert report(AppStatus("a", replace(session, last_failure=None)), NOW).trouble == "retrying"


def test_ready_is_what_was_configured() -> None:
    """All apps, any of them, or none at all: the unit's operator says what others wait for."""
    assert [enough(Ready.ALL, served, 2) for served in (0, 1, 2)] == [False, False, True]
    assert [enough(Ready.ANY, served, 2) for served in (0, 1, 2)] == [False, True, True]
    assert enough(Ready.STARTED, 0, 2)
