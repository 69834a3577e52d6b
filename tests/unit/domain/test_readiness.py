"""Whether an app is ready, and every reason why it is not."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.model import Instant, Method, Timing
from refresherd.domain.readiness import (
    LAST_SHARE,
    LONGEST_LAG,
    SETTLING_TIME,
    AppStatus,
    Ask,
    OutputStatus,
    Ready,
    daemon_ready_at,
    delivered,
    no_token,
    ready,
    reasons,
    refusal,
    settled,
    stopping,
)
from refresherd.domain.session_state import ALWAYS, NEVER, State
from support.fakes import grants

NOW = Instant(1000)
LATER = Instant(1100)
LIFETIME = 600.0

_GRANTS = grants(LIFETIME)
SESSION = session_state.granted(session_state.begin(NOW), next(_GRANTS), NOW, Timing(), 0.0)


def test_a_new_app_is_not_ready() -> None:
    """Readiness before the first token would start consumers that cannot log in."""
    status = AppStatus("payments", session_state.begin(NOW))
    assert not ready(status, NOW)
    assert reasons(status, NOW) == ("no valid token (starting)",)


def test_an_app_whose_outputs_hold_the_newest_token_is_ready() -> None:
    """Consumers have a valid token where they read it."""
    outputs = (OutputStatus("/run/a", SESSION.token), OutputStatus("/run/b", SESSION.token))
    assert ready(AppStatus("payments", SESSION, outputs), LATER)


def test_an_app_without_outputs_is_ready_with_its_token() -> None:
    """Consumers of the API socket need no file."""
    assert ready(AppStatus("payments", SESSION), LATER)


def test_each_output_that_is_behind_is_named_with_its_error() -> None:
    """An operator must learn from the answer alone which file is stale, and why."""
    outputs = (
        OutputStatus("/run/a", SESSION.token),
        OutputStatus("/run/b"),
        OutputStatus("/run/c", None, "no space left on device"),
        OutputStatus("/run/d", None, "/run/d: cannot write it: it is a directory"),
    )
    assert reasons(AppStatus("payments", SESSION, outputs), LATER) == (
        "/run/b does not hold the newest token",
        "/run/c does not hold the newest token: no space left on device",
        "/run/d does not hold the newest token: cannot write it: it is a directory",
    )


def test_readiness_does_not_flap_while_a_new_token_is_written() -> None:
    """Of a thousand apps one is always writing; its consumers still have a valid token."""
    newer = session_state.kept_alive(SESSION, LATER, Timing(), 0.0)
    behind = OutputStatus("/run/a", SESSION.token)
    status = AppStatus("payments", newer, (behind,), token_since=LATER)
    assert ready(status, Instant(LATER + LONGEST_LAG))
    failing = replace(behind, error="read-only file system")
    assert not ready(replace(status, outputs=(failing,)), LATER)
    late = replace(status, token_since=Instant(NOW + LIFETIME - 0.5))
    assert not ready(late, Instant(NOW + LIFETIME)), "its consumers have no valid token any more"


def test_an_output_that_hangs_makes_its_app_unready() -> None:
    """No error has come yet, but the file does not get the new token."""
    newer = session_state.kept_alive(SESSION, LATER, Timing(), 0.0)
    current, behind = OutputStatus("/run/a", newer.token), OutputStatus("/run/b", SESSION.token)
    status = AppStatus("payments", newer, (current, behind), token_since=LATER)
    assert reasons(status, Instant(LATER + LONGEST_LAG + 0.001)) == (
        "/run/b does not hold the newest token",
    )
    assert not delivered(status, Instant(LATER + LONGEST_LAG + 0.001))
    written = replace(status, outputs=(current, replace(behind, holds=newer.token)))
    assert ready(written, Instant(LATER + LONGEST_LAG + 0.001))


def test_an_expired_token_makes_an_app_unready_at_that_instant() -> None:
    """The verdict must not wait for the refresher to notice the expiry."""
    status = AppStatus("payments", SESSION, (OutputStatus("/run/a", SESSION.token),))
    assert delivered(status, Instant(NOW + LIFETIME - 0.001))
    assert reasons(status, Instant(NOW + LIFETIME)) == ("no valid token (fresh)",)


def test_a_failure_is_reported_while_there_is_no_token() -> None:
    """The reason why there is no token is what an operator looks for."""
    refused = Rejected(Reason.REJECTED, "401 from the login")
    status = AppStatus(
        "payments", session_state.failed(session_state.begin(NOW), refused, NOW, Timing(), 0.0)
    )
    assert reasons(status, NOW) == ("no valid token (rejected): 401 from the login",)


def test_a_failing_renewal_leaves_an_app_ready_until_its_token_is_about_to_expire() -> None:
    """Consumers notice nothing of an outage, and an operator hears of it before they do."""
    outage = Retryable(Reason.CONNECT, "connection refused")
    troubled = session_state.failed(SESSION, outage, LATER, Timing(), 0.0)
    status = AppStatus("payments", troubled, (OutputStatus("/run/a", SESSION.token),))
    last = Instant(NOW + LIFETIME * (1 - LAST_SHARE))
    assert ready(status, LATER)
    assert ready(status, Instant(last - 0.001))
    assert reasons(status, last) == (
        "the token is about to expire and could not be replaced: connect: connection refused",
    )
    assert delivered(status, last), "a start or reload does not wait for the end of the outage"
    gone = Instant(NOW + LIFETIME)
    assert not ready(replace(status, session=session_state.expired(troubled, gone)), gone)


def test_an_app_is_ready_again_with_its_next_token() -> None:
    """Nobody has to do anything about it."""
    outage = Retryable(Reason.CONNECT, "connection refused")
    last = Instant(NOW + LIFETIME * (1 - LAST_SHARE))
    troubled = session_state.failed(SESSION, outage, last, Timing(), 0.0)
    assert not ready(AppStatus("payments", troubled), last)
    recovered = session_state.granted(troubled, next(grants(LIFETIME)), last, Timing(), 0.0)
    assert ready(AppStatus("payments", recovered), last)


def test_a_refresh_that_is_not_made_makes_its_app_unready() -> None:
    """No attempt has failed, because none was made, or it hangs."""
    status = AppStatus("payments", SESSION)
    assert reasons(status, Instant(NOW + LIFETIME * (1 - LAST_SHARE))) == (
        "the token is about to expire, and its refresh is overdue",
    )


@example(lifetime=600.0, at=0.95, jitter=0.0, rand=0.0, share=1.0)
@given(
    lifetime=st.floats(0.1, 1e6),
    at=st.floats(0.1, 0.95),
    jitter=st.floats(0.0, 1.0),
    rand=st.floats(0.0, 1.0, exclude_max=True),
    share=st.floats(0.0, 1.0),
)
def test_a_healthy_app_is_always_ready(
    lifetime: float, at: float, jitter: float, rand: float, share: float
) -> None:
    """A probe must not fail while nothing is wrong, and an attempt may take its time.

    With `at = 0.95` the refresh comes in the last tenth of each token's life.
    """
    timing = Timing(at=at, jitter=jitter * (at - 0.05))
    session = session_state.granted(
        session_state.begin(NOW), next(grants(lifetime)), NOW, timing, rand
    )
    assert session.token is not None
    due, left = session.next_attempt_at, session.token.expires_at - session.next_attempt_at
    latest = due + left / 2 * 0.999
    assert ready(AppStatus("payments", session), Instant(NOW + (latest - NOW) * share))


@given(
    share=st.floats(0.0, 1.2),
    failed_at=st.none() | st.floats(0.0, 1.0),
    lag=st.floats(0.0, 10.0),
    held=st.sampled_from(["newest", "older", "none"]),
    error=st.sampled_from(["", "disk full"]),
)
def test_ready_means_that_consumers_have_a_token_that_lives_on(
    share: float, failed_at: float | None, lag: float, held: str, error: str
) -> None:
    """Whatever happens, readiness does not lie."""
    now = Instant(NOW + LIFETIME * share)
    session = SESSION
    if failed_at is not None and failed_at <= share:
        outage = Retryable(Reason.CONNECT, "refused")
        at = Instant(NOW + LIFETIME * failed_at)
        session = session_state.failed(SESSION, outage, at, Timing(), 0.0)
    assert SESSION.token is not None
    older = replace(SESSION.token, expires_at=Instant(NOW + LIFETIME / 2))
    holds = {"newest": SESSION.token, "older": older, "none": None}[held]
    output = OutputStatus("/run/a", holds, "" if held == "newest" else error)
    status = AppStatus("payments", session, (output,), token_since=Instant(now - lag))
    if ready(status, now):
        left = SESSION.token.expires_at - now
        assert left > LIFETIME * LAST_SHARE
        assert holds is not None
        assert holds.expires_at > now
        assert held == "newest" or (lag <= LONGEST_LAG and not output.error)
        assert delivered(status, now)


def test_a_refused_credential_is_named_once_with_who_must_act() -> None:
    """A script's operator reads this line at night; the same fact three times hides the cure."""
    refused = Rejected(Reason.REJECTED, "DSM refused the credential: 401; replace it")
    session = session_state.failed(session_state.begin(NOW), refused, NOW, Timing(), 0.0)
    assert str(no_token(session, NOW)) == (
        "no valid token, and an operator must act: DSM refused the credential: 401; replace it"
    )


def test_a_client_that_waited_for_a_longer_token_is_told_so() -> None:
    """There is a valid token, so "no valid token" would be untrue."""
    assert "valid for long enough" in str(no_token(SESSION, LATER))


def test_a_client_waits_for_an_attempt_that_comes_before_it_gives_up() -> None:
    """The credential may have been replaced, so an attempt at that very instant counts."""
    refused = Rejected(Reason.REJECTED, "401")
    session = session_state.failed(session_state.begin(NOW), refused, NOW, Timing(), 0.0)
    due = session.next_attempt_at
    assert refusal(session, Ask(0.0, at=NOW, until=due), NOW) is None
    assert refusal(session, Ask(0.0, at=NOW, until=Instant(due - 1)), NOW) is not None


def test_a_stopping_daemon_is_worth_asking_again_at_once() -> None:
    """The next daemon takes over within a second."""
    assert stopping().retry_after == 1


@pytest.mark.parametrize(
    ("wanted", "served", "at"),
    [
        (Ready.ALL, 1, NEVER),
        (Ready.ALL, 2, ALWAYS),
        (Ready.ANY, 0, NEVER),
        (Ready.ANY, 1, ALWAYS),
        (Ready.STARTED, 0, ALWAYS),
    ],
)
def test_the_configuration_decides_when_the_daemon_is_ready(
    wanted: Ready, served: int, at: Instant
) -> None:
    """Units that depend on this one wait for all apps, for any, or only for the start."""
    assert daemon_ready_at(wanted, 2, served, [NOW]) == at


def test_an_app_that_fails_holds_up_the_daemon_for_thirty_seconds() -> None:
    """One unreachable endpoint must not hold up the boot of the host; the last to begin counts."""
    assert daemon_ready_at(Ready.SETTLED, 2, 1, []) == ALWAYS
    assert daemon_ready_at(Ready.SETTLED, 2, 0, [NOW, LATER]) == LATER + SETTLING_TIME
    assert SETTLING_TIME == 30.0


@pytest.mark.parametrize("reason", [Reason.REJECTED, Reason.MFA_REQUIRED])
def test_a_refused_app_is_settled(reason: Reason) -> None:
    """Only an operator can mend it, and he may need the services that wait for this one."""
    begun = session_state.begin(NOW)
    refused = session_state.failed(begun, Rejected(reason, "no"), NOW, Timing(), 0.0)
    assert settled(AppStatus("payments", refused), NOW)
    outage = Retryable(Reason.CONNECT, "connection refused")
    troubled = session_state.failed(begun, outage, NOW, Timing(), 0.0)
    assert not settled(AppStatus("payments", begun), NOW)
    assert not settled(AppStatus("payments", troubled), NOW)


def test_a_refused_app_with_a_token_still_has_to_deliver_it() -> None:
    """A resumed session lives on after the key was refused, and its file is about to be written."""
    renewal = replace(SESSION, method=Method.AUTH)
    refused = Rejected(Reason.REJECTED, "no")
    session = session_state.failed(renewal, refused, LATER, Timing(), 0.0)
    assert session.state is State.REJECTED
    assert not settled(AppStatus("payments", session, (OutputStatus("/run/a"),)), LATER)
    held = (OutputStatus("/run/a", SESSION.token),)
    assert settled(AppStatus("payments", session, held), LATER)
