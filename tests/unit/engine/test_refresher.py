"""Keeping one app's session alive: what is done when, over simulated time."""

import asyncio
from itertools import chain, islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresherd.domain.errors import Reason, Rejected, Retryable, SessionLost
from refresherd.domain.events import (
    AttemptBegan,
    AttemptFailed,
    CredentialChanged,
    Renewed,
    SessionEnded,
    TokenExpired,
)
from refresherd.domain.labels import Ending
from refresherd.domain.model import Grant, Instant, Method, Secret, Timing
from refresherd.domain.session_state import State
from refresherd.engine.delivery import Delivery
from refresherd.engine.refresher import PeriodicTask, Refresher
from support.fake_app import TIMING, FakeApp, HonestOutput, Script, running
from support.fakes import FakeClock, FakeOutput, FakeSchedule, ScriptedClient, grants, settle

OUTAGE = Retryable(Reason.CONNECT, "connection refused")
DEAD = SessionLost("Session does not exist")
FORBIDDEN = SessionLost("forbidden", dead=False)
REFUSED = Rejected(Reason.REJECTED, "bad key")
FIRST, SECOND = islice(grants(), 2)


class Refreshing(FakeApp):
    """An app with its refresher, which `running` runs."""

    def __init__(
        self, script: Script, *, timing: Timing = TIMING, outputs: tuple[FakeOutput, ...] = ()
    ) -> None:
        super().__init__(script, timing=timing, outputs=outputs)
        self.set_up()

    def set_up(self) -> None:
        """Build the refresher again, with the client and the credential as they are now."""
        self.parts = renewal = self.renewal()
        deliveries = [Delivery(self.running_app, one) for one in self.outputs]
        periodic_tasks: tuple[PeriodicTask, ...] = (
            renewal.credential,
            renewal.termination,
            *deliveries,
        )
        self.refresher = Refresher(self.running_app, renewal, periodic_tasks)

    def requests(self, *, terminations: bool = False) -> list[tuple[str, float]]:
        """Return what DSM was asked and when, seconds from the start."""
        return [
            (call.name, call.at - 1000)
            for call in self.scripted.calls
            if terminations or call.name != "terminate"
        ]


@pytest.mark.parametrize("lifetime", [1.0, 2.0, 600.0, 86400.0, 172800.0])
async def test_every_lifetime_is_renewed_at_its_half(lifetime: float) -> None:
    """DSM's administrators may set a second or two days; no token may run out."""
    app = Refreshing(grants(lifetime))
    async with running(app.refresher.run()):
        await app.schedule.advance(1.9 * lifetime)
    expected = [("login", 0.0)] + [("reauth", share * lifetime) for share in (0.5, 1.0, 1.5)]
    assert app.requests() == expected
    assert app.observer.of(TokenExpired) == []
    assert app.session.generation == 4


async def test_a_session_of_a_century_is_renewed_daily() -> None:
    """DSM may grant 4294967295 s, and somebody may end the session meanwhile."""
    app = Refreshing(grants(4294967295.0))
    async with running(app.refresher.run()):
        await app.schedule.advance(2.5 * 86400)
    assert app.requests() == [("login", 0.0), ("reauth", 86400.0), ("reauth", 172800.0)]


async def test_failures_are_retried_until_one_attempt_works() -> None:
    """The daemon never gives up, and waits longer each time."""
    app = Refreshing([*[OUTAGE] * 6, FIRST])
    app.rng = 0.999999
    async with running(app.refresher.run()):
        await app.schedule.advance(91)
    assert [round(seconds) for _, seconds in app.requests()] == [0, 2, 6, 14, 30, 60, 90]
    assert app.session.state is State.FRESH


async def test_a_lost_session_is_replaced_at_once_and_once() -> None:
    """Consumers without a token cannot wait, but a login that fails must not be hurried again."""
    app = Refreshing([FIRST, DEAD, OUTAGE, SECOND])
    async with running(app.refresher.run()):
        await app.schedule.advance(310)
    assert app.requests() == [("login", 0), ("reauth", 300), ("login", 300), ("login", 301)]


async def test_a_refused_credential_is_left_alone_for_half_an_hour() -> None:
    """Two logins are far apart, and so are the looks at the key between them."""
    app = Refreshing([REFUSED, REFUSED, FIRST])
    async with running(app.refresher.run()):
        await app.schedule.advance(3599)
        assert app.session.state is State.REJECTED
        await app.schedule.advance(1)
    assert app.requests() == [("login", 0), ("login", 1800), ("login", 3600)]
    assert app.credential.reads == 3 + 2, "each refusal is followed by one look into the file"


async def test_a_changed_key_ends_the_wait() -> None:
    """An operator who has put the right key in place sees it work within seconds."""
    app = Refreshing([REFUSED, FIRST])
    async with running(app.refresher.run()):
        await app.schedule.advance(100)
        app.credential.secret, app.credential.version = "another", 2
        await app.schedule.advance(2)
        assert app.session.state is State.FRESH
    assert app.observer.of(CredentialChanged) == [CredentialChanged("payments")]


async def test_a_refresh_ends_the_wait() -> None:
    """An operator who has corrected the key in DSM need not touch the host."""
    app = Refreshing([REFUSED, FIRST])
    async with running(app.refresher.run()):
        await app.schedule.advance(100)
        app.refresher.refresh()
        await settle()
    assert app.requests() == [("login", 0), ("login", 100)]


async def test_refreshes_during_an_attempt_make_no_second_one() -> None:
    """Any number of consumers that want a fresh token cost DSM one request."""
    gate = asyncio.Event()
    app = Refreshing([FIRST, gate, SECOND])
    async with running(app.refresher.run()):
        await app.schedule.advance(5)
        for _ in range(100):
            app.refresher.refresh()
            await settle()
        gate.set()
        await app.schedule.advance(1)
    assert app.requests() == [("login", 0), ("reauth", 5)]


async def test_a_flood_of_refreshes_is_no_flood_of_attempts() -> None:
    """Ten signals a second must not become ten sessions a second."""
    app = Refreshing(grants())
    async with running(app.refresher.run()):
        for _ in range(100):
            app.refresher.refresh()
            await app.schedule.advance(0.1)
    assert len(app.requests()) <= 11


async def test_a_refresh_that_fails_backs_off() -> None:
    """Another request must not make the next attempt follow the failed one at once."""
    app = Refreshing([FIRST, OUTAGE, SECOND])
    async with running(app.refresher.run()):
        await app.schedule.advance(10)
        app.refresher.refresh()
        app.refresher.refresh()
        await app.schedule.advance(5)
    assert app.requests() == [("login", 0), ("reauth", 10), ("reauth", 11)]


async def test_a_check_under_way_does_not_serve_for_a_refresh() -> None:
    """It brings no token, so an attempt follows it."""
    gate = asyncio.Event()
    app = Refreshing([FIRST, gate, FIRST, SECOND], timing=Timing(session_check=45.0))
    async with running(app.refresher.run()):
        await app.schedule.advance(45)
        app.refresher.refresh()
        await settle()
        gate.set()
        await settle()
    assert app.requests() == [("login", 0), ("keep_alive", 45), ("reauth", 45)]


async def test_an_expiry_is_noticed_while_an_attempt_hangs() -> None:
    """Consumers must not be handed an expired token for as long as a request may take."""
    gate = asyncio.Event()
    output = FakeOutput(removes_expired=True)
    app = Refreshing(chain([FIRST, gate], grants()), outputs=(output,))
    async with running(app.refresher.run()):
        await app.schedule.advance(599)
        assert output.holds is not None
        await app.schedule.advance(1)
        assert app.observer.of(TokenExpired) == [TokenExpired("payments", 1)]
        assert app.session.state is State.EXPIRED
        assert output.history[-1] is None
        gate.set()
        await settle()
        assert output.holds == app.session.token, "the late answer is good until 900"


async def test_a_kept_alive_session_lasts() -> None:
    """A consumer that read its token once is served for a day."""
    app = Refreshing(grants(), timing=Timing(renew=Method.KEEPALIVE))
    async with running(app.refresher.run()):
        await app.schedule.advance(6000)
    assert app.requests()[1:] == [("keep_alive", 300.0 * n) for n in range(1, 21)]
    assert app.session.generation == 1
    assert app.session.token is not None
    assert app.session.token.expires_at == 7600.0


async def test_a_check_notices_a_session_that_was_ended() -> None:
    """If somebody logged the app out, consumers have a new token within `session_check`."""
    app = Refreshing([FIRST, FIRST, DEAD, SECOND], timing=Timing(session_check=45.0))
    async with running(app.refresher.run()):
        await app.schedule.advance(100)
    assert app.requests() == [("login", 0), ("keep_alive", 45), ("keep_alive", 90), ("login", 90)]
    assert app.session.generation == 2


@pytest.mark.parametrize(
    ("slept", "seen"),
    [
        (400, [AttemptBegan("payments", Method.REAUTH, 100.0)]),
        (7200, [TokenExpired("payments", 1), AttemptBegan("payments", Method.AUTH, 6900.0)]),
    ],
)
async def test_an_overdue_renewal_is_made_at_once_after_a_suspend(
    slept: float, seen: list[object]
) -> None:
    """A laptop that wakes up must not show a dead token while it waits for a timer."""
    app = Refreshing([FIRST, SECOND])
    async with running(app.refresher.run()):
        app.clock.advance(slept)
        app.observer.events.clear()
        await app.schedule.advance(0)
    assert app.observer.events[: len(seen)] == seen
    assert app.session.state is State.FRESH


async def test_old_sessions_end_while_an_attempt_hangs() -> None:
    """Ending sessions and getting new ones do not delay each other."""
    gate = asyncio.Event()
    app = Refreshing([FIRST, SECOND, gate])
    async with running(app.refresher.run()):
        await app.schedule.advance(301)
        app.refresher.refresh()
        await app.schedule.advance(60)
    assert app.requests(terminations=True)[-2:] == [("reauth", 301), ("terminate", 360)]
    assert app.observer.of(SessionEnded) == [SessionEnded("payments", Ending.TERMINATED)]


async def test_an_output_that_hangs_delays_nothing() -> None:
    """Neither the session nor another output, and it gets the newest token in the end."""
    gate = asyncio.Event()
    stuck, other = FakeOutput("/nfs/token", [None, gate]), FakeOutput()
    app = Refreshing(grants(), outputs=(stuck, other))
    async with running(app.refresher.run()):
        await app.schedule.advance(900)
        assert (len(other.history), stuck.puts) == (4, 1)
        gate.set()
        await settle()
        assert stuck.holds == other.holds == app.session.token


async def test_an_app_is_idle_between_renewals() -> None:
    """Ten thousand apps are ten thousand sleeping tasks, not twenty."""
    app = Refreshing(grants(), outputs=(FakeOutput(), FakeOutput("/run/other.token")))
    async with running(app.refresher.run()):
        await app.schedule.advance(1000)
        assert len(asyncio.all_tasks()) == 2, "the refresher's and this test's"
        assert len(app.schedule.alarms) == 1


async def test_a_periodic_task_with_new_work_is_started() -> None:
    """A reload's look for another key must not wait for the next renewal."""
    app = Refreshing(grants())
    async with running(app.refresher.run()):
        app.parts.credential.look_now()
        await settle()
        assert app.credential.reads == 1
        app.refresher.wake()
        await settle()
        assert app.credential.reads == 2


async def test_a_bug_ends_all_tasks_of_the_app() -> None:
    """Its runner starts everything again, so nothing may go on beside that."""
    app = Refreshing([FIRST, RuntimeError("bug")], outputs=(FakeOutput(),))
    run = asyncio.create_task(app.refresher.run())
    await app.schedule.advance(300)
    with pytest.raises(ExceptionGroup) as caught:
        await run
    assert caught.group_contains(RuntimeError, match="bug")
    assert len(asyncio.all_tasks()) == 1
    assert not app.attempts.locked()


class SlowClient(ScriptedClient):
    """A DSM that takes two seconds to answer each login."""

    def __init__(self, clock: FakeClock, script: Script, schedule: FakeSchedule) -> None:
        super().__init__(clock, script)
        self._alarm = schedule.alarm()
        self._now = clock.now

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Take two seconds, then answer by the script."""
        grant = await super().login(credential, timeout)
        await self._alarm.wait(Instant(self._now() + 2))
        return grant


async def test_tokens_that_expire_on_the_way_do_not_make_it_spin() -> None:
    """They live for a second, and an answer takes two: none is ever handed out."""
    output = FakeOutput()
    app = Refreshing((), outputs=(output,))
    app.client = slow = SlowClient(app.clock, grants(1.0), app.schedule)
    app.set_up()
    async with running(app.refresher.run()):
        await app.schedule.advance(600)
    assert output.history == []
    assert app.session.state is State.STARTING
    assert len(slow.calls) <= 600 / (2 + 1) + 1
    reasons = {failure.reason for failure in app.observer.of(AttemptFailed)}
    assert reasons == {Reason.BAD_RESPONSE}


OUTCOMES = st.one_of(
    st.sampled_from(
        [
            OUTAGE,
            DEAD,
            FORBIDDEN,
            REFUSED,
            Rejected(Reason.MFA_REQUIRED, "second factor"),
            Retryable(Reason.THROTTLED, "slow down", retry_after=1e9),
        ]
    ),
    st.sampled_from([30.0, 600.0]).map(lambda lifetime: next(grants(lifetime))),
)
TIMINGS = st.builds(Timing, rejected_retry=st.just(60.0), renew=st.sampled_from(Method))


@settings(max_examples=40, deadline=None)
@given(st.lists(OUTCOMES, max_size=12), TIMINGS, st.floats(0, 1, exclude_max=True))
async def test_whatever_dsm_answers_attempts_are_bounded_and_the_app_recovers(
    outcomes: list[Grant | BaseException], timing: Timing, rand: float
) -> None:
    """No sequence of answers makes it spin, give up, or hand out an invalid token."""
    app = Refreshing(chain(outcomes, grants()), timing=timing)
    app.rng = rand
    app.outputs = (HonestOutput(app.clock),)
    app.set_up()
    async with running(app.refresher.run()):
        await app.schedule.advance(5400)
        assert app.session.state is State.FRESH
        assert app.outputs[0].holds == app.session.token
    instants = [seconds for _, seconds in app.requests()]
    assert all(
        third - first >= 1 - 1e-6 for first, third in zip(instants, instants[2:], strict=False)
    )
    generations = [renewed.generation for renewed in app.observer.of(Renewed)]
    assert all(after - before in (0, 1) for before, after in pairwise([0, *generations]))
