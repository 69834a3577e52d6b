"""One app's session as a state machine: examples of each rule, and invariants of all histories."""

import itertools
from dataclasses import dataclass, replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain import session_state
from refresherd.domain.errors import (
    DsmError,
    LoginSuppressed,
    Reason,
    Rejected,
    Retryable,
    SessionLost,
)
from refresherd.domain.model import Grant, Instant, Method, Secret, Timing
from refresherd.domain.operator_transitions import (
    credential_changed,
    hastened,
    refresh_requested,
    settings_changed,
)
from refresherd.domain.session_state import ALWAYS, NEVER, Action, SessionState, State

NOW = Instant(1000.0)
DAY = 86_400.0
RAND = st.floats(0, 1, exclude_max=True)
LIFETIMES = st.one_of(st.integers(1, 4_294_967_295), st.integers(1, 60)).map(float)
TIMING = Timing(session_check=45.0)

OUTAGE = Retryable(Reason.CONNECT, "connection refused")
DEAD = SessionLost("Session does not exist")
FORBIDDEN = SessionLost("forbidden", dead=False)
REFUSED = Rejected(Reason.REJECTED, "bad key")
MFA = Rejected(Reason.MFA_REQUIRED, "DSM wants a second factor")


GRANT = Grant(Secret("granted"), "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11", 600.0)


def grant(lifetime: float = 600.0) -> Grant:
    """Return what DSM answers to a login."""
    return Grant(Secret("token"), "", lifetime)


def fresh(timing: Timing = TIMING, lifetime: float = 600.0) -> SessionState:
    """Return the state of an app that got its first token at NOW."""
    return session_state.granted(session_state.begin(NOW), grant(lifetime), NOW, timing, 0.0)


def after(session: SessionState, *errors: DsmError, timing: Timing = TIMING) -> SessionState:
    """Return the state after attempts with these errors, each made when it was due."""
    for error in errors:
        session = session_state.failed(
            session, error, Instant(max(NOW, session.next_attempt_at)), timing, 0.0
        )
    return session


def at(seconds: float) -> Instant:
    """Return the instant that many seconds after NOW."""
    return Instant(NOW + seconds)


def test_a_new_app_is_due_at_once() -> None:
    """Consumers wait for the first token."""
    session = session_state.begin(NOW)
    assert session.state is State.STARTING
    assert session_state.next_action(session, NOW, busy=False) is Action.ATTEMPT
    assert session.method is Method.AUTH
    assert session_state.valid_token(session, NOW) is None


@given(LIFETIMES, RAND)
def test_a_renewal_is_due_at_its_share_of_the_lifetime_less_jitter(
    lifetime: float, rand: float
) -> None:
    """`at` and `jitter` mean what the configuration says, for a second and for two days.

    A session that lives for longer is renewed as often as one of two days.
    """
    session = session_state.granted(session_state.begin(NOW), grant(lifetime), NOW, Timing(), rand)
    due, counted = session.next_attempt_at - NOW, min(lifetime, 2 * DAY)
    assert 0.4 * counted - 1e-6 * counted <= due
    assert due <= 0.5 * counted + 1e-6 * counted
    assert session_state.wake_at(session, busy=False) == session.next_attempt_at


def test_a_check_is_a_reason_to_wake_up() -> None:
    """Otherwise the end of a session would be noticed only at its renewal."""
    assert session_state.wake_at(fresh(), busy=False) == at(45)


def test_a_token_lives_from_before_its_request() -> None:
    """DSM may count from there, so a later start would hand out an expired token."""
    session = fresh()
    assert session.state is State.FRESH
    assert session.token is not None
    assert (session.token.issued_at, session.token.expires_at) == (NOW, NOW + 600)
    assert session_state.valid_token(session, at(599.9)) is session.token
    assert session_state.valid_token(session, at(600)) is None
    assert session.last_success_at == NOW


def test_a_token_is_the_one_that_was_granted() -> None:
    """What DSM answers is what consumers get, and what its metrics name."""
    session = session_state.granted(session_state.begin(NOW), GRANT, NOW, TIMING, 0.0)
    assert session.token is not None
    assert session.token.access_token == GRANT.access_token
    assert session.token.entity_id == GRANT.entity_id


def test_expiry_is_a_reason_to_wake_up_while_the_next_attempt_is_far_off() -> None:
    """Readers must learn in time that there is no token, however long the wait after a failure."""
    session = replace(fresh(), next_attempt_at=at(1800), check_at=None)
    assert session_state.wake_at(session, busy=False) == at(600)
    assert session_state.next_action(session, at(600), busy=False) is Action.EXPIRE


def test_a_spared_credential_is_tried_as_soon_as_its_wait_is_over() -> None:
    """A session that is lost at that very instant must not wait for another backoff."""
    session = session_state.failed(
        replace(fresh(), login_at=at(300)), FORBIDDEN, at(300), TIMING, 0.0
    )
    assert (session.method, session.next_attempt_at) == (Method.AUTH, at(300))


def test_a_success_forgets_all_trouble() -> None:
    """A recovered app looks recovered, with the next generation of its token."""
    troubled = after(fresh(), OUTAGE, DEAD, OUTAGE)
    session = session_state.granted(troubled, grant(), at(900), TIMING, 0.0)
    assert (session.state, session.failures, session.last_failure) == (State.FRESH, 0, None)
    assert (session.dead, session.expired, session.generation) == (False, False, 2)
    assert session.method is Method.REAUTH


def test_a_kept_alive_session_keeps_its_token() -> None:
    """Consumers that can't read again live on the same token; only its expiry moves."""
    before = fresh()
    session = session_state.kept_alive(before, at(300), TIMING, 0.0)
    assert before.token is not None
    assert session.token == replace(before.token, expires_at=at(900))
    assert session.generation == before.generation
    assert session.next_attempt_at == at(600)
    with pytest.raises(ValueError, match="no session"):
        session_state.kept_alive(session_state.begin(NOW), NOW, TIMING, 0.0)


def test_failures_wait_ever_longer() -> None:
    """A hot retry loop is what agents of this kind are most hated for."""
    waits = []
    session = session_state.begin(NOW)
    for _ in range(6):
        session = session_state.failed(session, OUTAGE, NOW, TIMING, 0.999999)
        waits.append(round(session.next_attempt_at - NOW))
    assert waits == [2, 4, 8, 16, 30, 30]
    assert session.state is State.STARTING
    failure = session_state.Failure(Reason.CONNECT, "connection refused", NOW, NOW)
    assert session.last_failure == failure


@pytest.mark.parametrize(
    ("by_operator", "elapsed", "waited"),
    [(20, 300, 20), (1e9, 300, 150), (1e9, 599, 1), (0.1, 300, 1), (20, 601, 20), (1e9, 601, 300)],
)
def test_a_servers_wait_is_a_floor_within_reason(
    by_operator: float, elapsed: float, waited: float
) -> None:
    """Half of what the token has left is obeyed, five minutes when it has nothing left."""
    throttled = Retryable(Reason.THROTTLED, "slow down", retry_after=by_operator)
    session = session_state.failed(fresh(), throttled, at(elapsed), TIMING, 0.0)
    assert session.next_attempt_at == at(elapsed + waited)


def test_a_failed_renewal_leaves_the_token() -> None:
    """As long as the old token is good nobody need notice."""
    session = after(fresh(), OUTAGE)
    assert session.state is State.RETRYING
    assert session_state.valid_token(session, at(301)) is session.token
    assert session.check_at == at(45)


def test_a_dead_token_is_dropped_and_replaced_at_once() -> None:
    """A token that DSM does not know is good for nothing, and the credential can mend it."""
    session = after(fresh(), DEAD)
    assert (session.state, session.token, session.dead) == (State.EXPIRED, None, True)
    assert (session.method, session.next_attempt_at) == (Method.AUTH, at(300))
    assert session.check_at is None
    session = after(session, OUTAGE)
    assert (session.next_attempt_at, session.dead) == (at(301), True)


@pytest.mark.parametrize("error", [FORBIDDEN, MFA])
def test_a_session_that_dsm_will_not_renew_serves_on_while_a_login_replaces_it(
    error: DsmError,
) -> None:
    """Consumers may use it until it expires; asking the same again would not help."""
    session = after(fresh(), error)
    assert session.state is State.RETRYING
    assert session_state.valid_token(session, at(300)) is not None
    assert (session.method, session.next_attempt_at) == (Method.AUTH, at(300))
    assert after(session, OUTAGE).next_attempt_at == at(301)


def test_a_login_that_is_answered_like_a_renewal_is_not_hurried_again() -> None:
    """Nothing that DSM answers may make a login follow a login at once, and again."""
    session = after(fresh(), FORBIDDEN, DEAD)
    assert (session.method, session.next_attempt_at) == (Method.AUTH, at(301))


def test_a_refused_credential_is_spared() -> None:
    """DSM resets an app's secret after a hundred failed logins in a day."""
    session = after(session_state.begin(NOW), REFUSED)
    assert session.state is State.REJECTED
    assert (session.method, session.next_attempt_at) == (Method.AUTH, at(1800))
    assert after(session, REFUSED).next_attempt_at == at(3600)
    assert after(session, OUTAGE).state is State.STARTING


def test_a_live_token_is_renewed_while_the_credential_stands_refused() -> None:
    """A wrong key on the host, or a proxy's 403, must not cost a session that is fine."""
    session = after(fresh(), FORBIDDEN, REFUSED)
    assert (session.state, session.method, session.next_attempt_at) == (
        State.REJECTED,
        Method.REAUTH,
        at(301),
    )
    session = after(session, FORBIDDEN, OUTAGE, OUTAGE, OUTAGE, OUTAGE)
    assert (session.state, session.method) == (State.REJECTED, Method.REAUTH)
    renewed = session_state.granted(session, grant(), at(320), TIMING, 0.0)
    assert renewed.state is State.FRESH
    lost = session_state.failed(renewed, DEAD, at(400), TIMING, 0.0)
    assert (lost.state, lost.method, lost.next_attempt_at) == (
        State.REJECTED,
        Method.AUTH,
        at(300 + 1800),
    )


def test_an_expiry_does_not_hasten_the_login_of_a_refused_credential() -> None:
    """Else each expired token would burn the credential a little."""
    session = after(fresh(), FORBIDDEN, REFUSED)
    session = session_state.expired(session, at(600))
    assert (session.state, session.method, session.next_attempt_at) == (
        State.REJECTED,
        Method.AUTH,
        at(300 + 1800),
    )


def test_a_requested_refresh_ends_every_wait() -> None:
    """`refresh` and a changed key take effect at once, on the credential too."""
    session = refresh_requested(after(session_state.begin(NOW), REFUSED), at(310), TIMING)
    assert session_state.next_action(session, at(310), busy=False) is Action.ATTEMPT
    assert session_state.failed(session, OUTAGE, at(310), TIMING, 0.0).state is State.STARTING
    assert refresh_requested(fresh(), at(10), TIMING).next_attempt_at == at(10)
    assert refresh_requested(session_state.begin(NOW), at(10), TIMING).next_attempt_at == NOW


def test_a_requested_attempt_is_told_from_a_scheduled_one() -> None:
    """A requested login may be sent when a scheduled one would be withheld."""
    assert session_state.begin(NOW).by_operator is False
    assert session_state.begin(NOW, by_operator=True).by_operator is True
    assert refresh_requested(session_state.begin(NOW), NOW, TIMING).by_operator is True


def test_a_requested_attempt_includes_the_login_that_follows_at_once() -> None:
    """The operator wants a token, by whatever method; later retries are the schedule's."""
    by_operator = refresh_requested(fresh(), at(10), TIMING)
    assert session_state.failed(by_operator, DEAD, at(10), TIMING, 0.0).by_operator is True
    assert session_state.failed(by_operator, OUTAGE, at(10), TIMING, 0.0).by_operator is False
    assert session_state.failed(fresh(), DEAD, at(300), TIMING, 0.0).by_operator is False


def test_a_withheld_login_is_made_when_it_is_allowed() -> None:
    """That may be sooner or later than `rejected_retry`; until then an operator must act."""
    session = after(session_state.begin(NOW), LoginSuppressed("too many have failed", at(50)))
    assert (session.state, session.next_attempt_at) == (State.REJECTED, at(50))


def test_requested_refreshes_do_not_flood_dsm() -> None:
    """A script that asks ten times a second must not have DSM asked as often."""
    just_renewed = refresh_requested(fresh(), at(0.1), TIMING)
    assert just_renewed.next_attempt_at == at(TIMING.retry_min)
    just_failed = refresh_requested(after(fresh(), OUTAGE), at(300), TIMING)
    assert just_failed.next_attempt_at == at(300 + TIMING.retry_min)


def test_repeated_requests_hasten_nothing() -> None:
    """Otherwise a client of the API could flood DSM through the daemon."""
    failed = session_state.failed(session_state.begin(NOW), OUTAGE, NOW, TIMING, 0.9)
    assert refresh_requested(failed, at(0.5), TIMING).next_attempt_at == at(1)
    assert refresh_requested(fresh(), at(0.5), TIMING).next_attempt_at == at(1)


def test_a_reader_hastens_no_login_that_has_to_wait() -> None:
    """A client that may only read a token must not cost the app its allowance of logins."""
    assert hastened(fresh(), at(10), TIMING).next_attempt_at == at(10)
    assert not hastened(fresh(), at(10), TIMING).by_operator
    waiting = replace(fresh(), method=Method.AUTH, login_at=at(200), next_attempt_at=at(250))
    assert hastened(waiting, at(10), TIMING).next_attempt_at == at(200)
    assert hastened(waiting, at(10), TIMING).login_at == at(200)


def test_a_new_credential_logs_in_while_the_token_stays() -> None:
    """Consumers keep the session of the old key until the new one has brought another."""
    session = credential_changed(fresh(), at(10), TIMING)
    assert (session.method, session.next_attempt_at) == (Method.AUTH, at(10))
    assert session_state.valid_token(session, at(10)) is not None


def test_another_timing_keeps_the_session() -> None:
    """A reload that changes `at` or `renew` is no reason for a login."""
    timing = Timing(at=0.8, renew=Method.KEEPALIVE, session_check=10.0)
    session = settings_changed(fresh(), at(20), timing, 0.0)
    assert (session.state, session.method) == (State.FRESH, Method.KEEPALIVE)
    assert (session.next_attempt_at, session.check_at) == (at(480), at(30))
    troubled = settings_changed(after(fresh(), OUTAGE), at(310), timing, 0.0)
    assert (troubled.state, troubled.next_attempt_at) == (State.RETRYING, at(301))


def test_another_timing_ends_every_wait_after_a_failure() -> None:
    """What failed may work under the new settings: a proxy, a CA, another way to renew."""
    timing = Timing(renew=Method.KEEPALIVE, session_check=10.0)
    refused = settings_changed(after(fresh(), FORBIDDEN, REFUSED), at(310), timing, 0.0)
    assert (refused.method, refused.next_attempt_at) == (Method.KEEPALIVE, at(301))
    assert (refused.login_at, refused.check_at) == (at(301), at(320))
    due_to_log_in = settings_changed(after(fresh(), FORBIDDEN), at(300), timing, 0.0)
    assert (due_to_log_in.method, due_to_log_in.next_attempt_at) == (Method.AUTH, at(300))
    without = settings_changed(after(session_state.begin(NOW), REFUSED), at(310), timing, 0.0)
    assert (without.method, without.next_attempt_at) == (Method.AUTH, at(310))
    assert without.check_at is None
    renewed = session_state.granted(
        after(fresh(), FORBIDDEN, REFUSED), grant(), at(320), TIMING, 0.0
    )
    assert settings_changed(renewed, at(330), Timing(), 0.0).login_at == at(330)


def test_generations_continue_after_a_restart_of_the_app() -> None:
    """An app whose settings changed must not show its consumers an older generation."""
    session = session_state.begin(NOW, generation=7)
    assert session_state.granted(session, grant(), NOW, TIMING, 0.0).generation == 8


def reauthed(session: SessionState, lifetime: float, timing: Timing = TIMING) -> SessionState:
    """Return the state after a reauth, at its due time, of an app that could log in as well."""
    now = session.next_attempt_at
    return session_state.granted(session, grant(lifetime), now, timing, 0.0, by_reauth=True)


def through(*lifetimes: float) -> list[Method]:
    """Return what follows a login's grant and those of reauths, each."""
    session = fresh(lifetime=lifetimes[0])
    methods = [session.method]
    for lifetime in lifetimes[1:]:
        session = reauthed(session, lifetime)
        methods.append(session.method)
    return methods


@pytest.mark.parametrize(
    ("lifetimes", "login_after"),
    [
        ((8, 5, 3), 2),
        ((600, 600, 600, 399), 3),
        ((600, 590, 500, 390), 3),
        ((600, 570, 513, 462, 416, 374), 5),
        ((3600, 600, 600, 300), 3),
    ],
)
def test_a_login_comes_before_the_session_reaches_its_maximum_age(
    lifetimes: tuple[float, ...], login_after: int
) -> None:
    """With each reauth that grants less, an outage of DSM would hurt consumers sooner."""
    methods = through(*lifetimes)
    assert methods == [Method.REAUTH] * login_after + [Method.AUTH]


@pytest.mark.parametrize(
    "lifetimes",
    [
        (600, 300, 300, 300),
        (600, 599, 600, 598, 599),
        (600, 420, 590, 400, 600),
        (3, 3, 2, 3, 2),
        (1, 1, 1),
        (300, 600, 3600),
    ],
)
def test_ordinary_variation_is_no_reason_for_a_login(lifetimes: tuple[float, ...]) -> None:
    """The key is used as rarely as possible, and a login may always be granted more."""
    assert set(through(*lifetimes)) == {Method.REAUTH}


@given(st.lists(st.floats(401, 600), min_size=1, max_size=20), LIFETIMES)
def test_no_login_follows_lifetimes_that_differ_by_less_than_a_third(
    lifetimes: list[float], login: float
) -> None:
    """Whatever the login itself was granted."""
    assert set(through(login, *lifetimes)) == {Method.REAUTH}


@given(st.lists(st.floats(1, 600), max_size=30))
def test_at_most_every_third_renewal_is_a_login(lifetimes: list[float]) -> None:
    """Whatever DSM grants, in any order."""
    session, methods = fresh(), []
    for lifetime in lifetimes:
        by_reauth = session.method is Method.REAUTH
        methods.append(session.method)
        session = session_state.granted(
            session, grant(lifetime), session.next_attempt_at, TIMING, 0.0, by_reauth=by_reauth
        )
    logins = [index for index, method in enumerate(methods) if method is Method.AUTH]
    assert all(later - earlier >= 3 for earlier, later in itertools.pairwise(logins))


def test_a_refused_credential_is_not_tried_because_grants_get_shorter() -> None:
    """The session is renewed for as long as it goes, and the wait after a refusal holds."""
    session = reauthed(reauthed(fresh(), 600), 300)
    assert session.method is Method.AUTH
    refused = after(session, REFUSED)
    assert refused.method is Method.REAUTH
    shorter = reauthed(refused, 100)
    assert (shorter.state, shorter.method) == (State.FRESH, Method.REAUTH)
    waited = replace(shorter, login_at=shorter.next_attempt_at)
    assert reauthed(waited, 50).method is Method.AUTH


def test_an_app_without_a_key_is_not_sent_to_log_in() -> None:
    """It has nothing to log in with."""
    session = fresh()
    for lifetime in (600, 300, 100):
        now = session.next_attempt_at
        session = session_state.granted(session, grant(lifetime), now, TIMING, 0.0)
        assert session.method is Method.REAUTH


def test_a_renewal_that_keeps_failing_takes_turns_with_logins() -> None:
    """Reauth may be broken while logins work, and vice versa."""
    methods = []
    session = fresh()
    for _ in range(7):
        methods.append(session.method)
        session = session_state.failed(session, OUTAGE, at(300), TIMING, 0.0)
    auth, reauth = Method.AUTH, Method.REAUTH
    assert methods == [reauth, reauth, auth, reauth, auth, reauth, auth]


def test_the_last_seconds_of_a_token_see_another_attempt() -> None:
    """However long the backoff has grown, DSM may be back before consumers notice."""
    patient = Timing(retry_max=3600.0)
    session = fresh()
    for _ in range(12):
        session = session_state.failed(session, OUTAGE, at(500), patient, 0.999)
    assert session.next_attempt_at <= at(550)


def test_an_expired_token_needs_a_login() -> None:
    """DSM renews live sessions only."""
    session = session_state.expired(after(fresh(), OUTAGE), at(600))
    assert (session.state, session.method, session.expired) == (State.EXPIRED, Method.AUTH, True)
    assert session.check_at is None
    assert session_state.failed(session, OUTAGE, at(600), TIMING, 0.0).state is State.EXPIRED
    assert session_state.wake_at(session, busy=True) == NEVER


def test_an_expiry_is_noticed_before_anything_else_is_done() -> None:
    """After a suspend all of it is overdue, and readers must know of the expiry first."""
    session = fresh()
    assert session_state.next_action(session, at(3600), busy=False) is Action.EXPIRE
    assert session_state.next_action(session, at(3600), busy=True) is Action.EXPIRE
    session = session_state.expired(session, at(3600))
    assert session_state.next_action(session, at(3600), busy=True) is None
    assert session_state.next_action(session, at(3600), busy=False) is Action.ATTEMPT


def test_a_check_finds_a_dead_session_and_nothing_else_changes() -> None:
    """Only DSM's clear statement that the token is dead counts; other errors of a check do not."""
    session = fresh()
    assert session_state.next_action(session, at(45), busy=False) is Action.CHECK
    assert session_state.checked(session, at(46), TIMING) == replace(session, check_at=at(91))
    for error in (OUTAGE, FORBIDDEN, REFUSED):
        doubted = session_state.check_failed(session, error, at(46), TIMING, 0.0)
        assert doubted == replace(session, check_at=at(91))
    lost = session_state.check_failed(session, DEAD, at(46), TIMING, 0.0)
    assert (lost.token, lost.next_attempt_at) == (None, at(46))


def test_a_check_that_outlives_the_token_schedules_no_other() -> None:
    """There is no session left to check."""
    session = session_state.expired(fresh(), at(600))
    assert session_state.checked(session, at(601), TIMING) == session
    assert fresh(Timing()).check_at is None


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a history: after a pause, an error or a grant with this lifetime."""

    pause: float
    outcome: DsmError | float
    rand: float


ERRORS = st.sampled_from(
    [OUTAGE, DEAD, FORBIDDEN, REFUSED, MFA, Retryable(Reason.THROTTLED, "", retry_after=1e9)]
)
STEPS = st.builds(Step, st.floats(0, 1000), st.one_of(ERRORS, LIFETIMES), RAND)
TIMINGS = st.builds(
    Timing,
    renew=st.sampled_from(Method),
    session_check=st.sampled_from([None, 30.0]),
    rejected_retry=st.sampled_from([60.0, 1800.0]),
)


def advanced(
    session: SessionState, step: Step, timing: Timing, since: Instant = ALWAYS
) -> SessionState:
    """Return the state after a step; its attempt is `pause` seconds late."""
    now = Instant(max(since, session.next_attempt_at) + step.pause)
    if session_state.next_action(session, now, busy=True) is Action.EXPIRE:
        session = session_state.expired(session, now)
        now = max(now, session.next_attempt_at)
    if isinstance(step.outcome, DsmError):
        return session_state.failed(session, step.outcome, now, timing, step.rand)
    if session.method is Method.KEEPALIVE:
        return session_state.kept_alive(session, now, timing, step.rand)
    return session_state.granted(session, grant(step.outcome), now, timing, step.rand)


@dataclass(frozen=True, slots=True)
class Ask:
    """An operator's action in a history, `pause` seconds after the last step."""

    of: str
    pause: float
    timing: Timing


ASKS = st.builds(
    Ask, st.sampled_from(["refresh", "login", "settings"]), st.floats(0, 1000), TIMINGS
)


def by_operator(session: SessionState, ask: Ask, now: Instant, timing: Timing) -> SessionState:
    """Return the state after an operator's action."""
    if session_state.next_action(session, now, busy=True) is Action.EXPIRE:
        session = session_state.expired(session, now)
    match ask.of:
        case "refresh":
            return refresh_requested(session, now, timing)
        case "login":
            return credential_changed(session, now, timing)
        case _:
            return settings_changed(session, now, ask.timing, 0.5)


@given(st.lists(st.one_of(STEPS, ASKS), max_size=12), TIMINGS)
def test_operators_actions_keep_the_invariants(happened: list[Step | Ask], timing: Timing) -> None:
    """No order of refreshes, new keys and reloads renews a dead token or forgets an app."""
    session, now = session_state.begin(NOW), NOW
    for one in happened:
        if isinstance(one, Step):
            since, now = now, Instant(max(now, session.next_attempt_at) + one.pause)
            session = advanced(session, one, timing, since)
        else:
            now = Instant(now + one.pause)
            before = session
            session = by_operator(session, one, now, timing)
            timing = one.timing if one.of == "settings" else timing
            assert session.generation == before.generation
            assert session.token is before.token
        assert session.method is Method.AUTH or (session.token is not None and not session.expired)
        assert session.method is not Method.AUTH or session.next_attempt_at >= session.login_at
        assert session.check_at is None or session.token is not None
        assert session.next_attempt_at < inf


@given(st.lists(STEPS, min_size=1, max_size=8), TIMINGS, st.floats(0, 5), st.booleans())
def test_requests_never_cause_two_attempts_within_retry_min(
    steps: list[Step],
    timing: Timing,
    pause: float,
    login: bool,  # noqa: FBT001  # hypothesis passes it by position
) -> None:
    """However often signals, reloads and requests ask, DSM is not flooded."""
    session = session_state.begin(NOW)
    for step in steps:
        session = advanced(session, step, timing)
    last = session.last_success_at if session.last_failure is None else session.last_failure.at
    assert last is not None
    ask = credential_changed if login else refresh_requested
    soon = ask(session, Instant(last + pause), timing)
    assert soon.next_attempt_at >= min(session.next_attempt_at, last + timing.retry_min)
    assert soon.next_attempt_at <= max(last + pause, last + timing.retry_min)


@given(st.lists(STEPS, max_size=12), TIMINGS)
def test_every_history_keeps_the_invariants(steps: list[Step], timing: Timing) -> None:
    """Only live tokens are renewed, refused keys are spared, and no wait is forgotten."""
    session = session_state.begin(NOW)
    for step in steps:
        before, session = session, advanced(session, step, timing)
        assert session.generation - before.generation in (0, 1)
        assert session.token is None or session.token.generation == session.generation
        assert session.method is Method.AUTH or (session.token is not None and not session.expired)
        assert session.method is not Method.AUTH or session.next_attempt_at >= session.login_at
        assert not (session.dead and session.token is not None)
        assert session.check_at is None or session.token is not None
        assert session.next_attempt_at < inf


@given(st.lists(STEPS, min_size=1, max_size=12), TIMINGS)
def test_no_two_attempts_in_a_row_are_made_at_once(steps: list[Step], timing: Timing) -> None:
    """Every wait is at least `retry_min`, except for a login after a lost session.

    Even if a login gets an answer that only a renewal can get: no answer makes it spin.
    """
    session, at_once = session_state.begin(NOW), False
    for step in steps:
        now = Instant(session.next_attempt_at + step.pause)
        session, before = advanced(session, step, timing), at_once
        at_once = isinstance(step.outcome, DsmError) and session.next_attempt_at <= now
        assert not (at_once and before)
        assert not at_once or session.method is Method.AUTH
        assert at_once or session.next_attempt_at >= now + 0.4


@given(st.lists(STEPS, max_size=8), TIMINGS, st.booleans(), RAND)
def test_the_wake_up_is_exactly_when_something_is_due(
    steps: list[Step],
    timing: Timing,
    busy: bool,  # noqa: FBT001  # hypothesis passes it by position
    share: float,
) -> None:
    """Waking too early spins, waking too late lets a token outlive itself unnoticed."""
    session = session_state.begin(NOW)
    for step in steps:
        session = advanced(session, step, timing)
    wake_at = session_state.wake_at(session, busy=busy)
    if wake_at < NEVER:
        assert session_state.next_action(session, wake_at, busy=busy) is not None
    earlier = Instant(NOW + (min(wake_at, 1e12) - NOW) * share)
    if earlier < wake_at:
        assert session_state.next_action(session, earlier, busy=busy) is None


def test_a_session_that_is_kept_alive_is_not_replaced_while_it_lives() -> None:
    """Its consumers read the token once: a login during an outage would cost them their session."""
    timing = replace(TIMING, renew=Method.KEEPALIVE)
    session = fresh(timing)
    for _ in range(6):
        session = session_state.failed(session, OUTAGE, at(300), timing, 0.0)
        assert session.method is Method.KEEPALIVE
