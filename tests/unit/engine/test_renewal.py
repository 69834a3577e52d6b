"""One attempt: what DSM is asked, what follows from its answer, and what observers learn."""

import asyncio
from dataclasses import replace
from itertools import islice

import pytest

from refresherd.domain import session_state
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.events import (
    AttemptBegan,
    AttemptFailed,
    EntityMismatch,
    LoginPostponed,
    Renewed,
    SessionChecked,
)
from refresherd.domain.login_budget import MAX_REFUSALS, WINDOW, History
from refresherd.domain.model import Grant, Instant, Method, Secret, Timing
from refresherd.domain.session_state import Action, State
from refresherd.engine.login_limiter import LoginLimiter
from refresherd.engine.renewal import Renewal
from support.fake_app import FakeApp
from support.fake_token_app import FakeTokenApp
from support.fakes import ENTITY_ID, FakeClock, FakeLoginStore, grants, settle

OUTAGE = Retryable(Reason.CONNECT, "connection refused", request_id="r-7")
DEAD = SessionLost("Session does not exist")
FORBIDDEN = SessionLost("forbidden", dead=False)
FIRST, SECOND = islice(grants(), 2)
OTHER_ID = "00000000-0000-4000-8000-000000000000"


async def logged_in(app: FakeApp) -> Renewal:
    """Return the renewal of an app that got its first token at 1000."""
    renewal = app.renewal()
    await renewal.attempt()
    assert app.session.state is State.FRESH
    return renewal


async def due(app: FakeApp, renewal: Renewal) -> None:
    """Make the attempt that comes next, when it is due."""
    app.clock.set(app.session.next_attempt_at)
    await renewal.attempt()


def granting(*lifetimes: float) -> list[Grant]:
    """Return grants of these lifetimes."""
    return [replace(one, lifetime=s) for one, s in zip(grants(), lifetimes, strict=False)]


async def test_a_login_comes_before_the_session_reaches_its_maximum_age() -> None:
    """DSM grants each reauth less, and consumers must not be left with a token of a second."""
    app = FakeApp(granting(8, 5, 3, 8, 8, 5, 3, 8))
    renewal = app.renewal()
    await renewal.attempt()
    for _ in range(7):
        await due(app, renewal)
    asked = [call.name for call in app.scripted.calls if call.name != "terminate"]
    assert asked == ["login", "reauth", "reauth", "login", "reauth", "reauth", "login", "reauth"]
    assert app.observer.of(AttemptFailed) == []


async def test_an_app_without_a_key_renews_its_session_to_the_end() -> None:
    """It has nothing to log in with, and the file may even be gone."""
    app = FakeTokenApp(granting(8, 8, 5, 3, 1))
    renewal = app.renewal()
    await renewal.attempt()
    for _ in range(4):
        await due(app, renewal)
        assert app.session.method is Method.REAUTH
    assert [name for name, _ in app.requests() if name == "login"] == ["login"]


async def test_a_login_brings_the_first_token() -> None:
    """The credential is read again, and observers learn all that dashboards show."""
    app = FakeApp([FIRST])
    await app.renewal().attempt()
    (call,) = app.scripted.calls
    assert (call.name, call.secret, call.timeout) == ("login", app.credential.secret, 20.0)
    assert app.session.token is not None
    assert app.session.token.access_token.reveal() == "token-1"
    assert app.observer.events == [
        AttemptBegan("payments", Method.AUTH, 0.0),
        Renewed(
            app="payments",
            endpoint="https://dsm.example.com",
            method=Method.AUTH,
            duration=0.0,
            generation=1,
            expires_at=app.session.token.expires_at,
            next_refresh_at=app.session.next_attempt_at,
            request_id="request-1",
        ),
    ]


async def test_a_reauth_uses_the_live_token_and_retires_it() -> None:
    """The credential is not read, and the old session does not pile up."""
    app = FakeApp([FIRST, SECOND])
    renewal = await logged_in(app)
    old = app.session.token
    await due(app, renewal)
    assert [call.secret for call in app.scripted.calls[1:]] == ["token-1"]
    assert app.scripted.instants("reauth") == [1300]
    assert app.session.generation == 2
    assert renewal.termination.pending == (old,)
    assert app.credential.reads == 1


async def test_a_reauth_that_answers_with_the_same_token_does_not_end_it() -> None:
    """DSM may do so, as far as anyone knows; ending it would cut consumers off."""
    app = FakeApp([FIRST, FIRST])
    renewal = await logged_in(app)
    await due(app, renewal)
    assert app.session.generation == 2
    assert renewal.termination.pending == ()


async def test_a_reauth_that_returns_another_apps_session_is_refused() -> None:
    """A proxy that mixes up its answers must not give one app's token to another's consumers."""
    others = Grant(Secret("another-apps"), OTHER_ID, 600.0, "r-9")
    app = FakeApp([FIRST, others, SECOND])
    renewal = await logged_in(app)
    await due(app, renewal)
    assert app.session.token is not None
    assert app.session.token.access_token.reveal() == "token-1"
    (failed,) = app.observer.of(AttemptFailed)
    assert (failed.reason, failed.request_id) == (Reason.BAD_RESPONSE, "r-9")
    assert renewal.termination.pending == ()
    await due(app, renewal)
    assert app.session.token.access_token.reveal() == "token-2"


async def test_an_entity_id_that_is_not_the_apps_may_change() -> None:
    """If DSM's entity_id is not the app's UUID, as after this login, nobody knows what it is."""
    grants = [replace(one, entity_id=name) for one, name in ((FIRST, "one"), (SECOND, "other"))]
    app = FakeApp(grants)
    renewal = await logged_in(app)
    await due(app, renewal)
    assert app.session.token is not None
    assert app.session.token.access_token.reveal() == "token-2"


async def test_a_login_can_be_configured_for_each_renewal() -> None:
    """`renew = "auth"` is for apps whose keys do not follow a reauth."""
    app = FakeApp([FIRST, SECOND], timing=Timing(renew=Method.AUTH))
    renewal = await logged_in(app)
    await due(app, renewal)
    assert app.scripted.instants("login") == [1000, 1300]
    assert app.credential.reads == 2
    assert len(renewal.termination.pending) == 1


async def test_a_keep_alive_moves_the_expiry_alone() -> None:
    """The token and its generation stay, for consumers that cannot read again."""
    app = FakeApp([FIRST, SECOND], timing=Timing(renew=Method.KEEPALIVE))
    renewal = await logged_in(app)
    before = app.session.token
    await due(app, renewal)
    assert before is not None
    assert app.session.token == replace(before, expires_at=Instant(1900))
    assert app.session.generation == 1
    assert renewal.termination.pending == ()
    (_, renewed) = app.observer.of(Renewed)
    assert (renewed.method, renewed.request_id) == (Method.KEEPALIVE, "request-2")


async def test_a_lifetime_counts_from_before_the_request() -> None:
    """DSM may have counted since then, so a slow answer shortens what is left."""
    gate = asyncio.Event()
    app = FakeApp([gate, FIRST])
    attempt = asyncio.create_task(app.renewal().attempt())
    await settle()
    app.clock.advance(15)
    gate.set()
    await attempt
    assert app.session.token is not None
    assert (app.session.token.issued_at, app.session.token.expires_at) == (1000.0, 1600.0)
    assert app.observer.of(Renewed)[0].duration == 15


@pytest.mark.parametrize("renew", [Method.REAUTH, Method.KEEPALIVE])
async def test_a_token_that_expired_on_the_way_is_a_failure(renew: Method) -> None:
    """It is never handed out, and the next attempt comes after a backoff."""
    gate = asyncio.Event()
    app = FakeApp([*grants_of(2.0, 1), gate, *grants_of(2.0, 1)], timing=Timing(renew=renew))
    renewal = await logged_in(app)
    app.clock.set(app.session.next_attempt_at)
    attempt = asyncio.create_task(renewal.attempt())
    await settle()
    app.clock.advance(2)
    gate.set()
    await attempt
    (failure,) = app.observer.of(AttemptFailed)
    assert (failure.reason, failure.duration) == (Reason.BAD_RESPONSE, 2)
    assert app.session.generation == 1
    assert app.session.next_attempt_at >= app.clock.now() + 1
    assert app.session.method is Method.AUTH


def grants_of(lifetime: float, count: int) -> list[Grant]:
    """Return the first grants of a lifetime."""
    return list(islice(grants(lifetime), count))


async def test_a_failure_is_reported_with_what_follows() -> None:
    """Operators ask why, how often, and when the next attempt is."""
    app = FakeApp([FIRST, OUTAGE])
    await due(app, await logged_in(app))
    assert app.observer.of(AttemptFailed) == [
        AttemptFailed(
            app="payments",
            endpoint="https://dsm.example.com",
            method=Method.REAUTH,
            reason=Reason.CONNECT,
            message="connection refused",
            duration=0.0,
            consecutive_failures=1,
            next_refresh_at=app.session.next_attempt_at,
            request_id="r-7",
        )
    ]
    assert not app.attempts.locked()


async def test_an_unreadable_credential_costs_no_request() -> None:
    """A key file that is not there yet is retried after a backoff, without asking DSM."""
    app = FakeApp()
    app.credential.error = Retryable(Reason.CREDENTIAL, "payments.key: no such file")
    await app.renewal().attempt()
    assert app.scripted.calls == []
    assert app.observer.of(AttemptBegan) == []
    (failure,) = app.observer.of(AttemptFailed)
    assert (failure.reason, failure.method) == (Reason.CREDENTIAL, Method.AUTH)
    assert app.session.next_attempt_at == 1001.0


def limited(app: FakeApp, history: History) -> Renewal:
    """Return the renewal of an app whose key has this history."""
    store = FakeLoginStore({app.credential.secret: history})
    limiter = LoginLimiter(store, app.clock, app.schedule, app.observer)
    ports = replace(app.app_context, login_limiter=limiter)
    return Renewal(replace(app.running_app, ports=ports))


async def test_only_logins_are_limited() -> None:
    """A reauth uses no key, however many logins with it have failed meanwhile."""
    app = FakeApp([FIRST, SECOND])
    history = History(refused=(Instant(app.clock.now() - WINDOW + 1),) * MAX_REFUSALS)
    renewal = limited(app, history)
    await renewal.attempt()
    assert app.scripted.calls == []
    app.clock.advance(1)
    await renewal.attempt()
    await due(app, renewal)
    assert [call.name for call in app.scripted.calls] == ["login", "reauth"]


async def test_a_suppressed_login_is_postponed_without_a_request() -> None:
    """It is no attempt: nothing was asked, so nothing failed."""
    app = FakeApp()
    await limited(app, History(refused=(app.clock.now(),) * MAX_REFUSALS)).attempt()
    assert app.scripted.calls == []
    assert app.observer.of(AttemptFailed) == []
    (postponed,) = app.observer.of(LoginPostponed)
    assert postponed.next_refresh_at == app.session.next_attempt_at == 1000 + WINDOW
    assert app.session.state is State.REJECTED


async def test_a_refused_credential_is_remembered() -> None:
    """The wait for another one must not end for the same one."""
    app = FakeApp([Rejected(Reason.REJECTED, "bad key")])
    renewal = app.renewal()
    await renewal.attempt()
    await renewal.credential.work()
    assert app.session.state is State.REJECTED
    assert app.session.next_attempt_at == 2800.0


@pytest.mark.parametrize("error", [DEAD, FORBIDDEN, Rejected(Reason.MFA_REQUIRED, "second factor")])
async def test_a_session_that_dsm_will_not_renew_is_replaced_by_a_login_at_once(
    error: DsmError,
) -> None:
    """Only the credential helps then, and waiting would not."""
    app = FakeApp([FIRST, error, SECOND])
    renewal = await logged_in(app)
    await due(app, renewal)
    assert app.session.next_attempt_at == 1300.0
    await due(app, renewal)
    assert app.scripted.instants("login") == [1000, 1300]
    assert app.session.state is State.FRESH
    assert len(renewal.termination.pending) == (0 if error is DEAD else 1)


async def test_a_token_that_runs_out_in_the_queue_is_not_renewed() -> None:
    """An overloaded endpoint must not get a request that it can only refuse."""
    app = FakeApp([FIRST])
    renewal = await logged_in(app)
    async with app.attempts:
        attempt = asyncio.create_task(renewal.attempt())
        await settle()
        app.clock.advance(600)
        app.cell.publish(session_state.expired(app.session, app.clock.now()))
    await attempt
    assert len(app.scripted.calls) == 1
    assert session_state.next_action(app.session, app.clock.now(), busy=False) is Action.ATTEMPT


async def test_other_settings_take_over_what_is_known() -> None:
    """A session in its grace period is ended under them as well, and the key is not tried again."""
    app = FakeApp([FIRST, SECOND])
    earlier = await logged_in(app)
    await due(app, earlier)
    later = app.renewal()
    later.follow(earlier)
    assert later.termination.pending == earlier.termination.pending != ()
    later.credential.look_now()
    await later.credential.work()
    assert app.session.method is Method.REAUTH


@pytest.mark.parametrize(("elapsed", "timeout"), [(0, 20), (580, 10), (599, 1), (601, 20)])
async def test_an_attempt_leaves_time_for_another(elapsed: float, timeout: float) -> None:
    """An attempt that hangs must not use up what the token has left."""
    app = FakeApp([FIRST, SECOND], timing=Timing(renew=Method.AUTH))
    renewal = await logged_in(app)
    app.clock.advance(elapsed)
    await renewal.attempt()
    assert app.scripted.calls[1].timeout == timeout


async def test_the_delay_ends_with_the_request() -> None:
    """It includes the wait for a place at the endpoint: that is how overload shows."""
    app = FakeApp([FIRST])
    async with app.attempts:
        attempt = asyncio.create_task(app.renewal().attempt())
        await settle()
        app.clock.advance(7)
    await attempt
    assert app.observer.of(AttemptBegan) == [AttemptBegan("payments", Method.AUTH, 7.0)]
    assert app.session.last_success_at == 1007.0


@pytest.mark.parametrize(
    ("expected", "answered", "warned"),
    [
        (ENTITY_ID, "0" * 36, True),
        (ENTITY_ID.upper(), ENTITY_ID, False),
        ("", ENTITY_ID, False),
    ],
)
async def test_another_apps_key_is_noticed(expected: str, answered: str, *, warned: bool) -> None:
    """A swapped key file would give one app's token to the other's consumers."""
    app = FakeApp([Grant(Secret("token"), answered, 600.0)])
    app.credential.entity_id = expected
    await app.renewal().attempt()
    assert bool(app.observer.of(EntityMismatch)) is warned
    assert app.session.state is State.FRESH


TARGET = "0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10"


@pytest.mark.parametrize(
    ("own", "answered", "warned"),
    [
        (ENTITY_ID, TARGET.upper(), False),
        (ENTITY_ID, ENTITY_ID, False),
        (ENTITY_ID, "0" * 36, True),
        ("", TARGET, False),
        ("", ENTITY_ID, False),
    ],
)
async def test_a_bound_session_may_be_called_either_apps(
    own: str, answered: str, *, warned: bool
) -> None:
    """DSM does not document whether it is the bound app's or that of the app which logged in."""
    app = FakeApp([Grant(Secret("token"), answered, 600.0)])
    app.app = replace(app.app, bind_to=TARGET)
    app.credential.entity_id = own
    await app.renewal().attempt()
    mismatches = app.observer.of(EntityMismatch)
    assert bool(mismatches) is warned
    assert all(mismatch.expected == TARGET for mismatch in mismatches)


async def test_a_reauth_that_loses_the_binding_is_followed_by_a_login_at_once() -> None:
    """Consumers could not use the unbound session, so it must never reach them."""
    bound = [replace(grant, entity_id=TARGET) for grant in (FIRST, SECOND)]
    unbound = Grant(Secret("unbound"), ENTITY_ID, 600.0)
    app = FakeApp([bound[0], unbound, bound[1]])
    app.app = replace(app.app, bind_to=TARGET)
    renewal = await logged_in(app)
    await due(app, renewal)
    assert app.session.token is not None
    assert app.session.token.access_token.reveal() == "token-1"
    (failed,) = app.observer.of(AttemptFailed)
    assert 'set renew = "auth"' in failed.message
    assert app.session.next_attempt_at == app.clock.now()
    await renewal.attempt()
    assert [call.name for call in app.scripted.calls] == ["login", "reauth", "login"]
    assert app.session.token.access_token.reveal() == "token-2"


class TestCheck:
    """A check asks whether the session lives, and only a clear no changes anything."""

    TIMING = Timing(session_check=45.0)

    async def checked(self, answer: Grant | DsmError) -> FakeApp:
        """Return an app after a check that was answered like this."""
        app = FakeApp([FIRST, answer], timing=self.TIMING)
        renewal = await logged_in(app)
        app.clock.set(1045)
        await renewal.check()
        assert not app.attempts.locked()
        return app

    async def test_a_live_session_is_left_alone(self) -> None:
        """The token, its generation and the next renewal stay as they were."""
        app = await self.checked(SECOND)
        assert app.scripted.calls[1].name == "keep_alive"
        assert app.observer.of(SessionChecked) == [
            SessionChecked("payments", "https://dsm.example.com", 0.0)
        ]
        assert app.session == replace(self.fresh(), check_at=Instant(1090))

    async def test_a_dead_session_is_noticed(self) -> None:
        """If somebody logged the app out, consumers get a new token now, not at half of the
        lifetime.
        """
        app = await self.checked(DEAD)
        assert (app.session.token, app.session.dead) == (None, True)
        assert (app.session.method, app.session.next_attempt_at) == (Method.AUTH, 1045.0)
        (failure,) = app.observer.of(AttemptFailed)
        assert (failure.method, failure.reason) == (Method.KEEPALIVE, Reason.SESSION_LOST)

    @pytest.mark.parametrize("error", [OUTAGE, FORBIDDEN])
    async def test_an_unclear_answer_changes_nothing(self, error: DsmError) -> None:
        """If DSM is away, or does not allow the question, that says nothing about the session."""
        app = await self.checked(error)
        assert app.session == replace(self.fresh(), check_at=Instant(1090))
        assert len(app.observer.of(AttemptFailed)) == 1

    async def test_a_token_that_runs_out_in_the_queue_is_not_checked(self) -> None:
        """There is nothing left to ask about."""
        app = FakeApp([FIRST], timing=self.TIMING)
        renewal = await logged_in(app)
        async with app.attempts:
            check = asyncio.create_task(renewal.check())
            await settle()
            app.clock.advance(600)
            app.cell.publish(session_state.expired(app.session, app.clock.now()))
        await check
        assert len(app.scripted.calls) == 1

    def fresh(self) -> session_state.SessionState:
        """Return the state of an app that got its first token at 1000."""
        now = FakeClock().now()
        return session_state.granted(session_state.begin(now), FIRST, now, self.TIMING, 0.0)
