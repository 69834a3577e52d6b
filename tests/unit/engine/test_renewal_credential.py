"""What an attempt is made with if there is no API key: no live session is given up."""

from itertools import islice

import pytest

from refresherd.domain import session_state
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.events import AttemptBegan, AttemptFailed, CredentialChanged
from refresherd.domain.model import Method, Secret
from refresherd.domain.session_state import NEVER, Action, State
from refresherd.engine.renewal import Renewal
from support.fake_token_app import BOOTSTRAP, FakeTokenApp
from support.fakes import Disk, grants

FIRST, SECOND, THIRD = islice(grants(), 3)
ANOTHER = Secret("another")
OUTAGE = Retryable(Reason.CONNECT, "connection refused")
DEAD = SessionLost("Session does not exist")
FORBIDDEN = SessionLost("forbidden", dead=False)
REFUSED = Rejected(Reason.REJECTED, "Session does not exist", request_id="r-7")
MISSING = Retryable(Reason.CREDENTIAL, "bootstrap.token: No such file or directory")


async def attempt(app: FakeTokenApp, renewal: Renewal, *, save: bool = True) -> None:
    """Make the next attempt when it is due, and save the token that it brings."""
    app.clock.set(max(app.clock.now(), app.session.next_attempt_at))
    if session_state.next_action(app.session, app.clock.now(), busy=False) is Action.EXPIRE:
        app.cell.publish(session_state.expired(app.session, app.clock.now()))
    generation = app.session.generation
    await renewal.attempt()
    if save and app.session.generation > generation and app.session.token is not None:
        await app.store.put(app.session.token)


async def attempted(app: FakeTokenApp, count: int = 1) -> Renewal:
    """Return the app's renewal after its first attempts."""
    renewal = app.renewal()
    for _ in range(count):
        await attempt(app, renewal)
    return renewal


async def test_without_a_stored_session_the_bootstrap_token_is_used() -> None:
    """This is the first run on a host."""
    app = FakeTokenApp([FIRST])
    await attempted(app)
    assert app.requests() == [("login", "bootstrap")]
    assert app.store.disk == Disk(BOOTSTRAP.fingerprint(), FIRST.access_token)


async def test_a_stored_session_is_renewed() -> None:
    """After a restart the bootstrap token's own session ended long ago."""
    app = FakeTokenApp([FIRST], stored="stored")
    await attempted(app)
    assert app.requests() == [("reauth", "stored")]
    assert app.observer.of(AttemptBegan) == [AttemptBegan("payments", Method.REAUTH, 0.0)]
    assert app.session.state is State.FRESH
    assert app.store.disk.credential == BOOTSTRAP.fingerprint()


@pytest.mark.parametrize("error", [OUTAGE, FORBIDDEN])
async def test_a_stored_session_is_given_up_only_when_dead(error: DsmError) -> None:
    """An outage, or a proxy that forbids everything, says nothing about it."""
    app = FakeTokenApp([error, error, error, FIRST], stored="stored")
    await attempted(app, 4)
    assert app.requests() == [("reauth", "stored")] * 4
    assert app.session.state is State.FRESH


async def test_after_a_dead_session_the_bootstrap_token_is_tried() -> None:
    """It may be new enough; if it is not, an operator must act."""
    app = FakeTokenApp([DEAD, REFUSED], stored="stored")
    await attempted(app, 2)
    assert app.requests() == [("reauth", "stored"), ("login", "bootstrap")]
    assert app.scripted.instants("login") == [1000]
    assert (app.session.state, app.session.dead) == (State.REJECTED, True)


async def test_a_new_bootstrap_comes_first() -> None:
    """The operator wants it: it may belong to another app."""
    app = FakeTokenApp([FIRST], stored="stored")
    app.credential.secret = "another"
    await attempted(app)
    assert app.requests() == [("login", "another")]
    assert app.store.disk.credential == ANOTHER.fingerprint()


async def test_a_refused_new_bootstrap_does_not_end_the_session() -> None:
    """It may have been put there days before a restart, and have expired unused."""
    app = FakeTokenApp([REFUSED, FIRST, SECOND], stored="stored")
    app.credential.secret = "another"
    renewal = await attempted(app, 2)
    assert app.requests() == [("login", "another"), ("reauth", "stored")]
    assert app.clock.now() == 1000.0
    assert app.session.state is State.FRESH
    (failure,) = app.observer.of(AttemptFailed)
    assert (failure.reason, failure.request_id) == (Reason.SESSION_LOST, "r-7")
    await attempt(app, renewal)
    assert app.requests()[2:] == [("reauth", "token-1")]
    assert app.store.disk.credential == BOOTSTRAP.fingerprint(), (
        "the next restart tries the new one again"
    )


async def test_when_everything_is_refused_the_app_waits() -> None:
    """Two dead tokens must not be tried in turns for ever."""
    app = FakeTokenApp([REFUSED, DEAD, REFUSED], stored="stored")
    app.credential.secret = "another"
    await attempted(app, 3)
    expected = [("login", "another"), ("reauth", "stored"), ("login", "another")]
    assert app.requests() == expected
    assert app.session.state is State.REJECTED
    assert app.session.next_attempt_at >= app.clock.now() + 1800


async def test_a_bootstrap_may_be_deleted() -> None:
    """It was used up long ago, and secrets should not lie around."""
    app = FakeTokenApp([FIRST], stored="stored")
    app.credential.error = MISSING
    await attempted(app)
    assert app.requests() == [("reauth", "stored")]


async def test_without_a_session_the_missing_bootstrap_is_reported() -> None:
    """It is looked for again and again, until an operator brings it."""
    app = FakeTokenApp([FIRST])
    app.credential.error = MISSING
    renewal = await attempted(app)
    (failure,) = app.observer.of(AttemptFailed)
    assert (failure.reason, failure.message) == (Reason.CREDENTIAL, MISSING.message)
    assert app.session.next_attempt_at == 1001.0
    app.credential.error = None
    await attempt(app, renewal)
    assert app.requests() == [("login", "bootstrap")]


async def test_an_unreadable_session_is_waited_for() -> None:
    """Starting without it would lose it, and the bootstrap token is most likely dead."""
    app = FakeTokenApp([FIRST], stored="stored")
    app.store.error = Retryable(Reason.CREDENTIAL, "payments.session: Permission denied")
    renewal = await attempted(app)
    assert app.requests() == []
    assert app.observer.of(AttemptFailed)[0].reason is Reason.CREDENTIAL
    app.store.error = None
    await attempt(app, renewal)
    assert app.requests() == [("reauth", "stored")]


async def test_an_extra_login_uses_the_live_session() -> None:
    """The bootstrap token is dead by then, and the app would look rejected."""
    app = FakeTokenApp([FIRST, OUTAGE, OUTAGE, SECOND])
    await attempted(app, 4)
    assert app.requests() == [("login", "bootstrap"), *[("reauth", "token-1")] * 3]
    assert app.session.state is State.FRESH


async def test_a_session_that_expired_by_our_count_is_tried() -> None:
    """DSM may count from its last use, and there is no other way back."""
    app = FakeTokenApp([FIRST, OUTAGE, SECOND])
    renewal = await attempted(app)
    app.clock.set(1599)
    await attempt(app, renewal)
    app.clock.set(1600)
    await attempt(app, renewal)
    assert app.requests()[1:] == [("reauth", "token-1")] * 2
    assert app.session.state is State.FRESH


async def test_a_reload_ignores_the_same_bootstrap() -> None:
    """Only another one counts, also if the one before had been deleted."""
    app = FakeTokenApp([FIRST, SECOND], stored="stored")
    renewal = await attempted(app)
    renewal.credential.look_now()
    await renewal.credential.work()
    assert app.observer.of(CredentialChanged) == []
    app.credential.secret = "another"
    renewal.credential.look_now()
    await renewal.credential.work()
    assert len(app.observer.of(CredentialChanged)) == 1
    app.clock.advance(1)
    await attempt(app, renewal)
    assert app.requests() == [("reauth", "stored"), ("login", "another")]


async def test_a_reload_notices_a_bootstrap_where_there_was_none() -> None:
    """The operator puts one there, and reloads."""
    app = FakeTokenApp([FIRST, SECOND], stored="stored")
    app.credential.error = MISSING
    renewal = await attempted(app)
    app.credential.error, app.credential.secret = None, "another"
    renewal.credential.look_now()
    await renewal.credential.work()
    app.clock.advance(1)
    await attempt(app, renewal)
    assert app.requests() == [("reauth", "stored"), ("login", "another")]


async def test_a_session_goes_back_to_the_bootstrap_that_it_came_from() -> None:
    """A bootstrap token that was tried in vain must be tried again after a restart."""
    app = FakeTokenApp([FIRST, OUTAGE, SECOND])
    renewal = await attempted(app)
    app.credential.secret = "another"
    renewal.credential.look_now()
    await renewal.credential.work()
    app.clock.advance(1)
    await attempt(app, renewal)
    assert app.requests()[1:] == [("login", "another")]
    app.credential.error = MISSING
    await attempt(app, renewal)
    assert app.requests()[2:] == [("reauth", "token-1")]
    assert app.store.disk.credential == BOOTSTRAP.fingerprint()


async def test_a_live_session_replaces_a_missing_bootstrap_before_it_is_saved() -> None:
    """A full state directory must not cost the app the session that it has in memory.

    Nothing is lost by using it: a reauth ends no session, and an unsaved app ends none either.
    """
    app = FakeTokenApp([FIRST, OUTAGE, OUTAGE, SECOND])
    renewal = app.renewal()
    await attempt(app, renewal, save=False)
    app.credential.error = MISSING
    for _ in range(3):
        await attempt(app, renewal, save=False)
    assert app.requests() == [("login", "bootstrap"), *[("reauth", "token-1")] * 3]
    assert app.session.state is State.FRESH
    assert app.store.disk == Disk()
    app.clock.advance(60)
    assert [one.access_token for one in renewal.termination.pending] == [FIRST.access_token]
    assert renewal.termination.due_at == NEVER, "nothing is saved that a crash could go on from"


async def test_a_live_session_replaces_a_refused_bootstrap_before_it_is_saved() -> None:
    """The app would count as rejected for half an hour, although it has a live session."""
    app = FakeTokenApp([FIRST, REFUSED, SECOND])
    renewal = app.renewal()
    await attempt(app, renewal, save=False)
    app.credential.secret = "another"
    renewal.credential.look_now()
    await renewal.credential.work()
    app.clock.advance(1)
    for _ in range(2):
        await attempt(app, renewal, save=False)
    assert app.requests()[1:] == [("login", "another"), ("reauth", "token-1")]
    assert app.session.state is State.FRESH
    assert app.store.credential == BOOTSTRAP.fingerprint()
    assert renewal.termination.due_at == NEVER, "nothing is saved that a crash could go on from"
    assert app.session.token is not None
    await app.store.put(app.session.token)
    assert renewal.termination.due_at == 1061.0, "once it is saved, the replaced one may end"


async def test_the_session_of_an_earlier_run_is_ended_too() -> None:
    """Otherwise each restart would leave one behind; after the grace, for consumers have it."""
    app = FakeTokenApp([FIRST], stored="stored")
    renewal = await attempted(app)
    assert renewal.termination.due_at == 1060.0
    app.clock.set(1060)
    await renewal.termination.work()
    assert app.requests()[1:] == [("terminate", "stored")]
