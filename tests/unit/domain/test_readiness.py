"""Whether an app is ready, and every reason why it is not."""

from dataclasses import replace

import pytest

from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.model import Instant, Method, Timing
from refresherd.domain.readiness import (
    SETTLING_TIME,
    AppStatus,
    Ask,
    OutputStatus,
    Ready,
    daemon_ready_at,
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
    assert ready(AppStatus("payments", newer, (behind,)), LATER)
    failing = replace(behind, error="read-only file system")
    assert not ready(AppStatus("payments", newer, (failing,)), LATER)
    assert not ready(AppStatus("payments", newer, (behind,)), Instant(NOW + LIFETIME))


def test_an_expired_token_makes_an_app_unready_at_that_instant() -> None:
    """The verdict must not wait for the refresher to notice the expiry."""
    status = AppStatus("payments", SESSION, (OutputStatus("/run/a", SESSION.token),))
    assert ready(status, Instant(NOW + LIFETIME - 0.001))
    assert not ready(status, Instant(NOW + LIFETIME))


def test_a_failure_is_reported_while_there_is_no_token() -> None:
    """The reason why there is no token is what an operator looks for."""
    refused = Rejected(Reason.REJECTED, "401 from the login")
    status = AppStatus(
        "payments", session_state.failed(session_state.begin(NOW), refused, NOW, Timing(), 0.0)
    )
    assert reasons(status, NOW) == ("no valid token (rejected): 401 from the login",)


def test_a_failing_renewal_leaves_an_app_ready() -> None:
    """As long as the old token is good, consumers notice nothing of an outage."""
    outage = Retryable(Reason.CONNECT, "connection refused")
    troubled = session_state.failed(SESSION, outage, LATER, Timing(), 0.0)
    status = AppStatus("payments", troubled, (OutputStatus("/run/a", SESSION.token),))
    assert ready(status, LATER)
    gone = Instant(NOW + LIFETIME)
    assert not ready(replace(status, session=session_state.expired(troubled, gone)), gone)


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
