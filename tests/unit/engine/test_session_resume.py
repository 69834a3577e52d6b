"""A restart: an app resumes the session of the earlier run, if it is still its own."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Retryable, SessionLost
from refresherd.domain.events import HookRan, SessionResumed, Warned
from refresherd.domain.model import Grant, Instant, Method, Secret, Timing, Token
from refresherd.domain.session_state import State
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import AppContext
from refresherd.engine.ports import StoredSession
from support.fake_app import TIMING, FakeApp, Script, running
from support.fakes import API_KEY, ENTITY_ID, FakeOutput, FakeSessionStore, grants, settle

MINE = Secret(API_KEY).fingerprint()
NEXT: Grant = next(islice(grants(), 5, None))


def session(generation: int, *, began: float = 900.0, credential: str = MINE) -> StoredSession:
    """Return a session of the earlier run, which has 600 s to live from `began`."""
    expires_at = Instant(began + 600)
    secret = Secret(f"old-{generation}")
    token = Token(secret, ENTITY_ID, generation, Instant(began), 600.0, expires_at)
    return StoredSession(secret, credential, token)


class Hooked:
    """A hook that records its runs."""

    name = "hooks[0] true"

    def __init__(self) -> None:
        self.ran: list[int] = []

    async def run(self, generation: int) -> str:
        """Record the run."""
        self.ran.append(generation)
        return ""


class Restarted(FakeApp):
    """An app whose daemon was restarted at 1000."""

    def __init__(
        self, script: Script, found: Iterable[StoredSession], *, timing: Timing = TIMING
    ) -> None:
        self.output = FakeOutput()
        super().__init__(script, timing=timing, outputs=(self.output,))
        self.store = FakeSessionStore(*found)
        self.hook = Hooked()
        self.hooks = (self.hook,)

    @property
    def app_context(self) -> AppContext:
        """The app's ports, with its session store."""
        return replace(super().app_context, session_store=self.store)

    def runner(self) -> AppRunner:
        """Return the app's runner, on its cell."""
        return AppRunner(self.app, self.app_context, self.context, self.cell)

    def requests(self) -> list[tuple[str, str, float]]:
        """Return what DSM was asked, with what, and when."""
        return [(call.name, call.secret, call.at) for call in self.scripted.calls]


async def test_an_app_resumes_its_session_without_a_request() -> None:
    """It keeps its token, and the next one comes at its due time, with the next generation."""
    app = Restarted([NEXT], [session(7)])
    async with running(app.runner().run()):
        await settle()
        assert app.requests() == []
        assert app.output.holds == session(7).token
        assert (app.session.state, app.session.last_success_at) == (State.FRESH, Instant(900.0))
        assert app.observer.of(SessionResumed) == [
            SessionResumed("payments", 7, Instant(1500.0), Instant(1200.0))
        ]
        await app.schedule.advance(250)
        assert app.requests() == [("reauth", "old-7", 1200)]
        assert (app.session.generation, app.output.holds) == (8, app.session.token)
        assert app.store.holds == app.session.token
        assert app.store.credential == MINE


async def test_an_overdue_renewal_is_made_at_once() -> None:
    """A daemon that was down for a while has no time to lose."""
    app = Restarted([NEXT], [session(7, began=500.0)])
    async with running(app.runner().run()):
        await settle()
        assert app.output.history[0] == session(7, began=500.0).token
        assert app.requests() == [("reauth", "old-7", 1000)]


async def test_a_refresh_requested_before_the_resumption_is_made() -> None:
    """Reading the key may take long, and the operator must not be told that all is done."""
    app = Restarted([NEXT], [session(7)])
    runner = app.runner()
    runner.refresh()
    async with running(runner.run()):
        await settle()
        assert app.output.history[0] == session(7).token
        assert app.requests() == [("reauth", "old-7", 1000)]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (session(7, began=400.0), "it has expired"),
        (session(7, credential="another"), "the credential has changed"),
    ],
)
async def test_an_unusable_session_is_dropped_with_a_warning(
    found: StoredSession, why: str
) -> None:
    """A login follows at once, with the next generation: consumers see it grow."""
    app = Restarted([NEXT], [found])
    async with running(app.runner().run()):
        await settle()
        assert app.observer.of(Warned) == [
            Warned(f"the stored session is dropped: {why}", "payments")
        ]
        assert app.store.removes == 1
        assert app.requests() == [("login", API_KEY, 1000)]
        assert app.session.generation == 8
        assert app.output.history == [app.session.token]


async def test_an_unreadable_credential_does_not_drop_the_session() -> None:
    """A vault that is locked after a restart is no reason to stop serving."""
    app = Restarted([NEXT], [session(7)])
    app.credential.error = Retryable(Reason.CREDENTIAL, "locked")
    runner = app.runner()
    async with running(runner.run()):
        await settle()
        assert app.output.holds == session(7).token
        app.credential.error = None
        runner.reloaded()
        await settle()
        assert [name for name, *_ in app.requests()] == ["login"], "nobody knows whose it was"


async def test_an_unchanged_key_is_not_used_again() -> None:
    """A reload after the restart must not take the key for a new one."""
    app = Restarted([NEXT], [session(7)])
    runner = app.runner()
    async with running(runner.run()):
        await settle()
        runner.reloaded()
        await settle()
        assert app.requests() == []


async def test_a_replaced_session_is_ended() -> None:
    """The earlier run was killed before it could, and sessions would pile up in DSM."""
    app = Restarted([NEXT], [session(7), session(6, began=600.0)], timing=Timing(terminate_after=9))
    async with running(app.runner().run()):
        await app.schedule.advance(10)
        assert app.requests() == [("terminate", "old-6", 1009)]


async def test_a_session_that_was_kept_alive_is_not_taken_for_a_replaced_one() -> None:
    """It is stored with each of its expiries; ending one would end the app's only session."""
    newest, earlier = session(7), replace(session(7, began=700.0))
    app = Restarted([NEXT], [newest, earlier], timing=Timing(renew=Method.KEEPALIVE))
    async with running(app.runner().run()):
        await app.schedule.advance(150)
        assert app.requests() == []


async def test_hooks_run_for_a_resumed_session() -> None:
    """The earlier run may have been killed before they ran; once too often does no harm."""
    app = Restarted([NEXT], [session(7)])
    async with running(app.runner().run()):
        await settle()
        assert app.hook.ran == [7]
        assert len(app.observer.of(HookRan)) == 1


async def test_a_dead_session_is_removed_from_the_store() -> None:
    """The next restart must not resume what DSM has declared dead."""
    away = Retryable(Reason.CONNECT, "connection refused")
    app = Restarted([SessionLost("Session does not exist"), away, NEXT], [session(7)])
    async with running(app.runner().run()):
        await app.schedule.advance(200.5)
        assert [name for name, *_ in app.requests()] == ["reauth", "login"]
        assert (app.store.holds, app.store.removes) == (None, 1)
        await app.schedule.advance(10)
        assert app.store.holds == app.session.token


async def test_a_session_is_resumed_once() -> None:
    """An app that is restarted by a reload must not return to it."""
    app = Restarted([NEXT], [session(7)])
    async with running(app.runner().run()):
        await settle()
    later = app.runner()
    async with running(later.run()):
        await settle()
        assert len(app.observer.of(SessionResumed)) == 1


async def test_a_replaceable_store_does_not_count_for_readiness() -> None:
    """Consumers are served without it."""
    app = Restarted([NEXT], [])
    runner = app.runner()
    assert [output.name for output in runner.status().outputs] == [app.output.name]
    async with running(runner.run()):
        await settle()
        assert app.store.holds == app.session.token
    await runner.clear()
    await runner.end_sessions()
    assert app.store.holds is None


async def test_a_token_is_stored_before_a_consumer_sees_it() -> None:
    """After a kill in between, the next run would return to the token before."""
    app = Restarted([NEXT], [])
    seen: list[str] = []

    class Watched(FakeOutput):
        async def put(self, token: Token) -> None:
            seen.append("stored" if app.store.holds == token else "lost")
            await super().put(token)

    app.outputs = (Watched(),)
    async with running(app.runner().run()):
        await settle()
    assert seen == ["stored"]


@given(st.floats(0, 599.9), st.floats(0, 1, exclude_max=True))
def test_a_resumed_state_is_like_the_one_before(age: float, rand: float) -> None:
    """Nothing may be due later than it would have been without the restart."""
    now = Instant(1000.0)
    token = session(7, began=now - age).token
    assert token is not None
    begun = session_state.begin(now)
    resumed = session_state.resumed(begun, token, now, TIMING, rand)
    assert session_state.valid_token(resumed, now) == token
    assert resumed.next_attempt_at <= token.issued_at + TIMING.at * token.lifetime + 0.001
    assert (resumed.state, resumed.generation, resumed.failures) == (State.FRESH, 7, 0)
    assert resumed.method is TIMING.renew
    checked = session_state.resumed(begun, token, now, replace(TIMING, session_check=45.0), rand)
    assert checked.check_at == now + 45
