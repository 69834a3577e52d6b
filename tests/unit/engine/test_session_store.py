"""An app without a key, over crashes: at any instant there is a session to go on from."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresherd.domain.errors import HookError, OutputError, Reason, Rejected, SessionLost
from refresherd.domain.events import AttemptFailed, HookRan, OutputWritten, SessionEnded
from refresherd.domain.model import Grant, Instant, Secret, Timing, Token
from refresherd.domain.readiness import ready
from refresherd.engine.app_runner import AppRunner
from support.fake_app import running
from support.fake_token_app import BOOTSTRAP, FakeTokenApp
from support.fakes import ENTITY_ID, Disk, FakeOutput, FakeSessionStore, grants, settle

FIRST, SECOND, THIRD, FOURTH = islice(grants(), 4)
FULL = OutputError("no space left on device")
SHORT = Timing(at=0.3, jitter=0.2, terminate_after=1.0)


async def test_an_old_session_ends_only_once_the_new_one_is_saved() -> None:
    """After a crash before that, no live session would be left."""
    gate = asyncio.Event()
    app = FakeTokenApp(
        [FIRST, SECOND], timing=Timing(terminate_after=5.0), writes=[None, None, gate]
    )
    async with running(AppRunner(app.app, app.app_context, app.context).run()):
        await app.schedule.advance(400)
        assert app.store.disk.token == FIRST.access_token
        assert [name for name, _ in app.requests()] == ["login", "reauth"]
        gate.set()
        await settle()
        assert app.store.disk.token == SECOND.access_token
        assert app.requests()[2:] == [("terminate", "token-1")]


async def test_an_app_is_not_ready_before_its_session_is_saved() -> None:
    """The next crash would lose it. Hooks do not wait, though: consumers have the token."""
    hook = Noted()
    app = FakeTokenApp([FIRST], outputs=(FakeOutput(),), writes=[None, FULL, FULL])
    app_context = replace(app.app_context, hooks=(hook,))
    runner = AppRunner(app.app, app_context, app.context)
    async with running(runner.run()):
        assert not ready(runner.status(), app.clock.now())
        assert hook.generations == [1]
        await app.schedule.advance(10)
        assert ready(runner.status(), app.clock.now())
    assert len(app.observer.of(HookRan)) == 1
    assert [event.output for event in app.observer.of(OutputWritten)] == [
        "/run/payments.token",
        app.store.name,
    ]


@pytest.mark.parametrize("writes", [[], [None]])
async def test_a_store_that_hangs_delays_no_output(writes: list[None]) -> None:
    """Each delivery is a task of its own: consumers get every token while the state disk hangs.

    The first session, which is all that a restart could go on from, is not ended meanwhile.
    """
    output, hook = FakeOutput(), Noted()
    app = FakeTokenApp([FIRST, SECOND, THIRD], outputs=(output,), writes=[*writes, asyncio.Event()])
    app_context = replace(app.app_context, hooks=(hook,))
    runner = AppRunner(app.app, app_context, app.context)
    async with running(runner.run()):
        delivered = [(app.clock.now(), output.holds)]
        for _ in range(2):
            await app.schedule.advance(300)
            delivered.append((app.clock.now(), output.holds))
        assert [(at, held and held.access_token) for at, held in delivered] == [
            (1000.0, FIRST.access_token),
            (1300.0, SECOND.access_token),
            (1600.0, THIRD.access_token),
        ]
        assert hook.generations == [1, 2, 3]
        assert [name for name, _ in app.requests()] == ["login", "reauth", "reauth"]
        assert not ready(runner.status(), app.clock.now())


@pytest.mark.parametrize(
    ("stored", "delivered"), [(SECOND, FIRST), (FIRST, SECOND)], ids=["stored first", "stored last"]
)
async def test_a_consumers_token_outlives_a_kill(stored: Grant, delivered: Grant) -> None:
    """Whichever of the two writes a kill cuts off, no run ends the session that consumers have.

    The next run goes on from the stored session, and ends no other.
    """
    hangs = [None, None, asyncio.Event()]  # once it is prepared and has the first token
    writes, puts = ([], hangs) if stored is SECOND else (hangs, [])
    output = FakeOutput(script=puts)
    app = FakeTokenApp([FIRST, SECOND], outputs=(output,), writes=writes)
    async with running(AppRunner(app.app, app.app_context, app.context).run()):
        await app.schedule.advance(500)
    assert output.holds is not None
    assert output.holds.access_token == delivered.access_token
    assert app.store.disk.token == stored.access_token
    assert [name for name, _ in app.requests()] == ["login", "reauth"]
    later = FakeTokenApp([THIRD, FOURTH], outputs=(FakeOutput(),))
    later.store = FakeSessionStore(disk=app.store.disk)
    async with running(AppRunner(later.app, later.app_context, later.context).run()):
        await later.schedule.advance(290)
    assert later.requests() == [
        ("reauth", stored.access_token.reveal()),
        ("terminate", stored.access_token.reveal()),
    ]


class Noted:
    """A hook that records the tokens that it is run for."""

    name = "hooks[0]"

    def __init__(self) -> None:
        self.generations: list[int] = []

    async def run(self, generation: int) -> str:
        """Record the run, and fail, which must not matter."""
        self.generations.append(generation)
        raise HookError("no such process")


async def ended(app: FakeTokenApp, seconds: float) -> None:
    """Run the app for some seconds, and then end its sessions."""
    runner = AppRunner(app.app, app.app_context, app.context)
    async with running(runner.run()):
        await app.schedule.advance(seconds)
    await runner.clear()
    await runner.end_sessions()


async def test_an_end_leaves_the_last_session_and_its_token() -> None:
    """`shutdown = "terminate"` cannot be meant to end the app for good."""
    output = FakeOutput()
    app = FakeTokenApp([FIRST, SECOND], outputs=(output,))
    await ended(app, 310)
    assert [secret for name, secret in app.requests() if name == "terminate"] == ["token-1"]
    assert output.holds is not None
    assert output.holds.access_token == app.store.disk.token == SECOND.access_token


async def test_an_end_leaves_a_session_that_is_not_replaced_on_the_disk() -> None:
    """A restart goes on from it."""
    app = FakeTokenApp([FIRST, SECOND], writes=[None, None, asyncio.Event()])
    await ended(app, 310)
    assert app.observer.of(SessionEnded) == []
    assert app.store.disk.token == FIRST.access_token


async def test_a_dead_session_is_forgotten() -> None:
    """A session that DSM has declared dead is of no use to the next run."""
    app = FakeTokenApp([FIRST, SessionLost("gone"), Rejected(Reason.REJECTED, "gone")])
    await ended(app, 310)
    assert app.store.disk.token is None


async def test_other_settings_keep_the_session() -> None:
    """A reload ends no session before its new store has saved the newest."""
    app = FakeTokenApp([FIRST, SECOND, THIRD], timing=Timing(terminate_after=5.0))
    runner = AppRunner(app.app, app.app_context, app.context)
    async with running(runner.run()):
        await app.schedule.advance(302)
    gate = asyncio.Event()
    app.store = FakeSessionStore(disk=app.store.disk, script=[gate])
    changed = replace(app.app, timing=Timing(terminate_after=4.0))
    async with running(runner.retuned(changed, app.app_context).run()):
        await app.schedule.advance(100)
        assert len(app.requests()) == 2
        gate.set()
        await settle()
        assert app.requests()[2:] == [("terminate", "token-1")]
    assert app.store.disk == Disk(BOOTSTRAP.fingerprint(), SECOND.access_token)


class Sessions:
    """A DSM with short-lived sessions: reauth is the only way in, and it takes its time.

    What is on the disk, or the bootstrap token while nothing is, must never be ended.
    """

    LIFETIME = 30.0

    def __init__(self, app: FakeTokenApp) -> None:
        self._app = app
        self._numbers: Iterator[int] = count(1)
        self._ends = {BOOTSTRAP.reveal(): app.clock.now() + self.LIFETIME}
        self.latency = 0.0

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Grant a session to the bootstrap token."""
        try:
            return await self.reauth(credential, timeout)
        except SessionLost as error:
            raise Rejected(Reason.REJECTED, error.message) from None

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Grant a session to a live one."""
        await self._pass(min(timeout, self.latency))
        if self._ends[token.reveal()] <= self._app.clock.now():
            raise SessionLost("Session does not exist")
        new = f"token-{next(self._numbers)}"
        self._ends[new] = self._app.clock.now() + self.LIFETIME
        await self._pass(min(timeout, self.latency))
        return Grant(Secret(new), ENTITY_ID, self.LIFETIME)

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Fail the test: it is not asked for."""
        raise AssertionError(token, timeout)

    async def terminate(self, token: Secret, timeout: float) -> None:
        """End a session, unless a crash now would need it."""
        await self._pass(min(timeout, self.latency))
        assert token != (self._app.store.disk.token or BOOTSTRAP), "the chain is cut"
        self._ends[token.reveal()] = self._app.clock.now()

    @property
    def left(self) -> float:
        """For how many seconds a restart could still go on from what is saved."""
        return (
            self._ends[(self._app.store.disk.token or BOOTSTRAP).reveal()] - self._app.clock.now()
        )

    async def _pass(self, seconds: float) -> None:
        alarm = self._app.schedule.alarm()
        await alarm.wait(Instant(self._app.clock.now() + seconds))


class SlowStore(FakeSessionStore):
    """A session file on a disk that takes its time, and is full now and then."""

    def __init__(self, app: FakeTokenApp, disk: Disk, latency: float, *, full: bool) -> None:
        super().__init__(disk=disk)
        self._app = app
        self._latency = latency
        self._full = full

    async def put(self, token: Token) -> None:
        """Save this token after a while, or fail every other time."""
        alarm = self._app.schedule.alarm()
        await alarm.wait(Instant(self._app.clock.now() + self._latency))
        self.puts += 1
        if self._full and self.puts % 2:
            raise FULL
        await super().put(token)


@st.composite
def run(draw: st.DrawFn) -> tuple[float, float, float, float, bool]:
    """Draw how long a run and the pause after it last, two latencies, and if the disk is full."""
    return (
        draw(st.floats(0.0, 60.0)),
        draw(st.floats(0.0, 10.0)),
        draw(st.sampled_from([0.0, 0.1, 0.7])),
        draw(st.sampled_from([0.0, 0.3, 3.0])),
        draw(st.booleans()),
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(run(), min_size=1, max_size=12), st.floats(0, 1, exclude_max=True))
async def test_no_crash_loses_the_last_session(
    runs: list[tuple[float, float, float, float, bool]], rand: float
) -> None:
    """Whenever it comes: what a restart would go on from is never ended, and is never old.

    A refresh is due 9 s into a life at the latest, and is saved within another 10 s.
    """
    app = FakeTokenApp(timing=SHORT)
    app.rng = rand
    dsm = Sessions(app)
    app.client = dsm
    for lasts, down, latency, write, full in runs:
        app.store = SlowStore(app, app.store.disk, write, full=full)
        dsm.latency = latency
        async with running(AppRunner(app.app, app.app_context, app.context).run()):
            await app.schedule.advance(lasts)
            assert dsm.left > 10 or lasts < 20
        await app.schedule.advance(down)
        assert app.observer.of(AttemptFailed) == []
        if dsm.left < 2:
            return  # it was up too shortly, and down too long
