"""All apps together: one app's trouble does not affect another, and nothing is left behind."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, islice

import pytest

from refresherd.domain.errors import Reason, Rejected, Retryable, SessionLost
from refresherd.domain.events import AppCrashed, SessionEnded
from refresherd.domain.labels import Ending
from refresherd.domain.model import App, Grant, Secret, Timing, Token
from refresherd.domain.session_state import State
from refresherd.engine.context import AppContext
from refresherd.engine.supervisor import BATCH, PAUSE, Supervisor
from support.fake_app import FakeApp, Script, running, stop
from support.fakes import FakeCredential, FakeOutput, ScriptedClient, grants, settle

FIRST, SECOND = islice(grants(), 2)
BUG = RuntimeError("bug")


class Fleet:
    """Some apps and their supervisor. Apps of one fleet share an endpoint."""

    def __init__(self, scripts: dict[str, Script], *, in_flight: int = 32) -> None:
        self.fake_app = FakeApp()
        self.clients = {
            name: ScriptedClient(self.fake_app.clock, script) for name, script in scripts.items()
        }
        self.attempts = asyncio.Semaphore(in_flight)
        self.outputs = {name: FakeOutput(f"/run/{name}.token") for name in scripts}
        apps = [replace(self.fake_app.app, name=name) for name in scripts]
        self.supervisor = Supervisor(apps, self.make_app_context, self.fake_app.context)

    def make_app_context(self, app: App) -> AppContext:
        """Return an app's ports."""
        return AppContext(
            self.clients[app.name],
            FakeCredential(),
            self.attempts,
            asyncio.Semaphore(1),
            (self.outputs[app.name],),
        )

    def states(self) -> dict[str, State]:
        """Return each app's state."""
        return {status.name: status.session.state for status in self.supervisor.statuses()}


def test_every_app_has_a_status_before_anything_runs() -> None:
    """All apps must not count as ready because there are none yet."""
    fleet = Fleet(dict.fromkeys(("b", "a", "c"), ()))
    assert fleet.states() == dict.fromkeys(("b", "a", "c"), State.STARTING)
    assert list(fleet.states()) == ["b", "a", "c"], "in the configuration's order"
    status = fleet.supervisor.status("a")
    assert status is not None
    assert status.name == "a"
    assert fleet.supervisor.status("d") is None


async def test_a_large_fleet_is_started_in_batches() -> None:
    """Ten thousand apps must not hold up the loop that answers the watchdog."""
    names = [f"app-{number}" for number in range(2 * BATCH + 1)]
    fleet = Fleet({name: grants() for name in names})
    run = asyncio.create_task(fleet.supervisor.run())
    await asyncio.sleep(0)
    begun = sum(bool(client.calls) for client in fleet.clients.values())
    assert begun == 0
    assert len(asyncio.all_tasks()) == 4 + BATCH, "this one, the supervisor's and its two rounds'"
    await settle()
    assert set(fleet.states().values()) == {State.FRESH}
    await stop(run)


@pytest.mark.parametrize("trouble", [asyncio.Event, lambda: BUG, lambda: SECOND])
async def test_one_apps_trouble_is_its_own(trouble: object) -> None:
    """A DSM host that hangs, or a bug, delays and ends no other app."""
    assert callable(trouble)
    fleet = Fleet({"troubled": [trouble(), *[BUG] * 9], "well": grants()}, in_flight=2)
    async with running(fleet.supervisor.run()):
        await fleet.fake_app.schedule.advance(320)
        assert fleet.states()["well"] is State.FRESH
    assert fleet.clients["well"].instants("reauth") == [1300]
    assert {crash.app for crash in fleet.fake_app.observer.of(AppCrashed)} <= {"troubled"}


async def test_max_in_flight_bounds_the_attempts_at_an_endpoint() -> None:
    """After an outage a fleet must not send everything to DSM at once."""
    gates = {name: asyncio.Event() for name in ("a", "b", "c")}
    fleet = Fleet({name: [gate, FIRST] for name, gate in gates.items()}, in_flight=2)
    async with running(fleet.supervisor.run()):
        assert [len(client.calls) for client in fleet.clients.values()] == [1, 1, 0]
        gates["a"].set()
        await settle()
        assert [len(client.calls) for client in fleet.clients.values()] == [1, 1, 1]


async def test_all_can_be_refreshed_now() -> None:
    """SIGUSR1: after a change in DSM no app waits for half of its lifetime."""
    fleet = Fleet({name: grants() for name in ("a", "b")})
    async with running(fleet.supervisor.run()):
        await fleet.fake_app.schedule.advance(10)
        fleet.supervisor.refresh_all()
        await settle()
        assert [client.instants("reauth") for client in fleet.clients.values()] == [[1010]] * 2


async def test_a_large_fleet_is_refreshed_in_batches() -> None:
    """Ten thousand attempts at once would hold up the loop that hands out tokens."""
    names = [f"app-{number}" for number in range(BATCH + 1)]
    fleet = Fleet({name: grants() for name in names})
    async with running(fleet.supervisor.run()):
        await fleet.fake_app.schedule.advance(10)
        fleet.supervisor.refresh_all()
        await settle()
        assert fleet.clients[names[-1]].instants("reauth") == []
        await fleet.fake_app.schedule.advance(PAUSE)
        assert all(client.instants("reauth") for client in fleet.clients.values())


async def test_an_end_ends_every_session() -> None:
    """`shutdown = "terminate"`: no session is left, and no output contains a dead token."""
    fleet = Fleet({name: grants() for name in ("a", "b")})
    async with running(fleet.supervisor.run()):
        pass
    await fleet.supervisor.end_sessions()
    endings = fleet.fake_app.observer.of(SessionEnded)
    assert endings == [SessionEnded(name, Ending.TERMINATED) for name in ("a", "b")]
    assert [output.holds for output in fleet.outputs.values()] == [None, None]


class BrokenOutput(FakeOutput):
    """An output with a bug in its removal."""

    async def remove(self) -> None:
        """Fail as no output should."""
        raise BUG


async def test_a_bug_in_one_end_leaves_no_other_session() -> None:
    """It is reported, but only after everything that could be ended has been."""
    gate = asyncio.Event()
    fleet = Fleet({name: grants() for name in ("a", "b")})
    fleet.outputs["a"] = BrokenOutput("/run/a.token")
    fleet.clients["b"] = ScriptedClient(fleet.fake_app.clock, grants(), [gate, None])
    fleet = rebuilt(fleet)
    async with running(fleet.supervisor.run()):
        pass
    end = asyncio.create_task(fleet.supervisor.end_sessions())
    await settle()
    assert not end.done()
    gate.set()
    await end
    (crash,) = fleet.fake_app.observer.of(AppCrashed)
    assert isinstance(crash.error, ExceptionGroup)
    assert (crash.app, crash.error.exceptions, crash.restart_in) == ("a", (BUG,), 0.0)
    assert fleet.fake_app.observer.of(SessionEnded) == [SessionEnded("b", Ending.TERMINATED)]


def rebuilt(fleet: Fleet) -> Fleet:
    """Return the fleet with a supervisor that has its apps as they are now."""
    apps = [replace(fleet.fake_app.app, name=name) for name in fleet.clients]
    fleet.supervisor = Supervisor(apps, fleet.make_app_context, fleet.fake_app.context)
    return fleet


class TurningClient(ScriptedClient):
    """A DSM that takes a turn of the loop for each answer."""

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Take a turn, then answer by the script."""
        await asyncio.sleep(0)
        return await super().login(credential, timeout)

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Take a turn, then answer by the script."""
        await asyncio.sleep(0)
        return await super().reauth(token, timeout)

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Take a turn, then answer by the script."""
        await asyncio.sleep(0)
        return await super().keep_alive(token, timeout)

    async def terminate(self, token: Secret, timeout: float) -> None:
        """Take a turn, then answer by the script."""
        await asyncio.sleep(0)
        await super().terminate(token, timeout)


class TurningCredential(FakeCredential):
    """A credential whose every reading takes a turn of the loop."""

    async def read(self) -> Secret:
        """Take a turn."""
        await asyncio.sleep(0)
        return await super().read()


class TurningOutput(FakeOutput):
    """An output whose every call takes a turn of the loop."""

    async def prepare(self) -> None:
        """Take a turn."""
        await asyncio.sleep(0)
        await super().prepare()

    async def put(self, token: Token) -> None:
        """Take a turn."""
        await asyncio.sleep(0)
        await super().put(token)

    async def remove(self) -> None:
        """Take a turn."""
        await asyncio.sleep(0)
        await super().remove()


ANSWERS: tuple[Grant | BaseException, ...] = (
    FIRST,
    FIRST,
    SessionLost("Session does not exist"),
    Rejected(Reason.REJECTED, "bad key"),
    SECOND,
    Retryable(Reason.CONNECT, "connection refused"),
    SECOND,
    BUG,
)
"""One of each kind, so that an app goes through everything in a few hundred turns."""


@pytest.mark.parametrize("turns", range(150))
async def test_a_cancellation_at_any_await_leaves_nothing_behind(turns: int) -> None:
    """No task lives on, and every place at an endpoint is given back.

    Two apps share semaphores that admit one, so that they are cancelled while they queue as well.
    """
    app = FakeApp(timing=Timing(session_check=100.0, terminate_after=1.0, rejected_retry=9.0))

    def make_app_context(_: App) -> AppContext:
        client = TurningClient(app.clock, chain(ANSWERS, grants()))
        outputs = (TurningOutput(removes_expired=True),)
        return AppContext(client, TurningCredential(), app.attempts, app.endings, outputs)

    apps = [replace(app.app, name=name) for name in ("a", "b")]
    run = asyncio.create_task(Supervisor(apps, make_app_context, app.context).run())
    for turn in range(turns):
        await asyncio.sleep(0)
        if turn % 5 == 4:
            ring_the_next(app)
    await stop(run)
    assert not app.attempts.locked()
    assert not app.endings.locked()


def ring_the_next(app: FakeApp) -> None:
    """Let time pass up to the next alarm, without waiting for what follows."""
    due: Iterable[float] = [app.schedule.next_at or app.clock.now(), app.clock.now()]
    app.clock.set(max(due))
    for alarm in app.schedule.alarms:
        if alarm.until is not None and alarm.until <= app.clock.now():
            alarm.wake()
