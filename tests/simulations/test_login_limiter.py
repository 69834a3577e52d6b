"""Days of a host with a wrong key: refused logins as DSM counts them, whatever happens."""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refresherd.adapters.state.login_file import Boot, decoded, encoded
from refresherd.domain.errors import OutputError, Reason, Rejected, Retryable
from refresherd.domain.events import AttemptBegan
from refresherd.domain.login_budget import DAY, MAX_REFUSALS, MAX_SCHEDULED, SPACING, History
from refresherd.domain.model import ApiKeyFile, App, Endpoint, Grant, Instant, Secret, Timing
from refresherd.domain.reload_plan import ReloadPlan, diff
from refresherd.domain.session_state import State
from refresherd.engine.context import AppContext, Context
from refresherd.engine.login_limiter import LoginLimiter
from refresherd.engine.supervisor import Supervisor
from support.drawn import drawn
from support.fakes import (
    ENTITY_ID,
    FakeAlarm,
    FakeClock,
    FakeCredential,
    FakeOutput,
    FakeSchedule,
    RecordingObserver,
)

TIMING = Timing(retry_min=1.0, retry_max=60.0, rejected_retry=2.0)
"""The shortest waits that an operator can configure."""

LOOK_EVERY = 30.0
"""Seconds between two looks at a refused key's file. The usual 2 s would be most of the work."""

OUTAGE = 120.0
"""Seconds within which all apps recover: an attempt hangs for 20, the next one is `retry_max` away,
and then one waits for another's login."""

FINGERPRINTS = {"wrong": "0" * 64, "right": "1" * 64}


@dataclass(frozen=True, slots=True)
class Step:
    """An event, after some seconds."""

    event: Literal["flood", "reload", "retune", "kill", "reboot", "clock", "hang", "answer", "fail"]
    after: float


class Disk:
    """The file of failed logins, as bytes; it cannot be written while the disk is `full`."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.full = False


class DiskStore:
    """The login store of one run, on the disk of all runs."""

    def __init__(self, disk: Disk, clock: FakeClock, boot: int) -> None:
        self._disk = disk
        self._clock = clock
        self._boot = boot

    def fingerprint(self, credential: Secret) -> str:
        """Return a name for the key."""
        return FINGERPRINTS[credential.reveal()]

    async def load(self) -> Mapping[str, History]:
        """Return what is on the disk."""
        raw = self._disk.content
        return {} if raw is None else decoded(raw, self._now())[1]

    async def save(self, histories: Mapping[str, History]) -> None:
        """Replace what is on the disk."""
        if self._disk.full:
            raise OutputError("no space left on device")
        self._disk.content = encoded(b"k" * 32, histories, self._now())

    def _now(self) -> Boot:
        return Boot(f"{self._boot}", self._clock.now(), self._clock.offset)


class Dsm:
    """A DSM that accepts the right key, and counts logins with a wrong one by a clock of its own.

    It answers after `latency` seconds; while it `hangs` it does not answer, and while it `fails` it
    answers 503.
    """

    def __init__(self, host: "Host") -> None:
        self._host = host
        self.latency = 0.5
        self.hangs = False
        self.fails = False
        self._recovered_at = -inf
        self.refusals: list[float] = []
        self.sessions = 0
        self._alarms: list[FakeAlarm] = []

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Accept or refuse the key."""
        host = self._host
        if self.fails:
            raise Retryable(Reason.SERVER_ERROR, "503")
        hangs = self.hangs
        # It may count a login at once and answer late.
        wrong = credential.reveal() == "wrong" and not hangs
        if wrong:
            self.refusals.append(host.real)
        pause = timeout if hangs else self.latency
        # A fake schedule never forgets an alarm, so they are used again.
        alarm = self._alarms.pop() if self._alarms else host.schedule.alarm()
        await alarm.wait(Instant(host.clock.now() + pause))
        self._alarms.append(alarm)
        if hangs:
            raise Retryable(Reason.TIMEOUT, "no answer")
        if wrong:
            raise Rejected(Reason.REJECTED, "401")
        return self._granted()

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Grant another session."""
        assert token.reveal()
        assert timeout > 0
        return self._granted()

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Do nothing."""
        assert token.reveal()
        assert timeout > 0
        return ""

    async def terminate(self, token: Secret, timeout: float) -> None:
        """Do nothing."""
        assert token.reveal()
        assert timeout > 0

    def recovered(self, now: float) -> float:
        """End its trouble at `now`, and return since when it has answered."""
        if self.hangs or self.fails:
            self._recovered_at = now
        self.hangs = self.fails = False
        return self._recovered_at

    def _granted(self) -> Grant:
        self.sessions += 1
        return Grant(Secret(f"token-{self.sessions}"), ENTITY_ID, 600.0)

    def most_within_a_day(self) -> int:
        """Return the largest number of logins refused within any 24 hours."""
        ends = (bisect_left(self.refusals, at - DAY) for at in self.refusals)
        return max((number + 1 - first for number, first in enumerate(ends)), default=0)


class Host:
    """A host with some apps that share a key, through all its runs and boots."""

    def __init__(self, apps: int) -> None:
        self.clock = FakeClock()
        self.schedule = FakeSchedule(self.clock)
        self.observer = RecordingObserver()
        self.key = FakeCredential("wrong")
        self.disk = Disk()
        self.dsm = Dsm(self)
        self.timing = TIMING
        self._boot = 0
        self._before_boot = 0.0
        self._names = [f"app-{number}" for number in range(apps)]
        self._tasks: list[asyncio.Task[object]] = []

    @property
    def real(self) -> float:
        """DSM's time, which no reboot and no clock of this host changes."""
        return self._before_boot + self.clock.now()

    @property
    def apps(self) -> list[App]:
        """The apps as they are configured now."""
        endpoint, key = Endpoint("https://dsm.example.com"), ApiKeyFile(Path("key"))
        return [App(name, endpoint, key, self.timing) for name in self._names]

    async def start(self) -> None:
        """Start the daemon."""
        context = Context(self.clock, self.schedule, self.observer, lambda: 0.5)
        login_limiter = LoginLimiter(
            DiskStore(self.disk, self.clock, self._boot),
            self.clock,
            self.schedule,
            self.observer,
        )
        gate = asyncio.Semaphore(32)

        def make_app_context(_: App) -> AppContext:
            outputs = (FakeOutput(),)
            return AppContext(
                self.dsm,
                self.key,
                gate,
                gate,
                outputs,
                login_limiter=login_limiter,
                credential_poll=LOOK_EVERY,
            )

        self.supervisor = Supervisor(self.apps, make_app_context, context)
        runs = (self.supervisor.run(), login_limiter.write_ahead.run())
        self._tasks = [asyncio.create_task(run) for run in runs]
        await self.schedule.advance(0)

    async def kill(self) -> None:
        """Kill the daemon; what it would write at its end is never written."""
        kept = self.disk.content
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            await stop_one(task)
        self.disk.content = kept

    async def reload(self, plan: ReloadPlan | None = None) -> None:
        """Reload an unchanged configuration, or apply a plan."""
        plan = plan or diff(self.apps, self.apps)
        await self.supervisor.apply(plan, self._names, end_sessions=False)

    async def do(self, step: Step) -> None:  # noqa: C901  # one branch per event
        """Carry out a step."""
        await self.schedule.advance(step.after)
        match step.event:
            case "flood":
                for _ in range(70):
                    self.supervisor.refresh_all()
                    await self.schedule.advance(1.1)
            case "reload":
                await self.reload()
            case "retune":
                before = self.apps
                self.timing = replace(self.timing, retry_max=self.timing.retry_max + 1)
                await self.reload(diff(before, self.apps))
            case "kill":
                await self.kill()
                await self.start()
            case "reboot":
                await self.kill()
                self._reboot(down=60.0)
                await self.start()
            case "clock":
                self.clock.offset += 1e7
            case "hang":
                self.dsm.hangs = True
            case "fail":
                self.dsm.fails = True
            case "answer":
                self.dsm.recovered(self.real)

    def _reboot(self, down: float) -> None:
        now = self.clock.now() + down
        self._boot += 1
        self._before_boot += now - 5.0
        self.clock.offset += now - 5.0
        self.clock.set(5.0)

    async def repair(self) -> None:
        """Replace the key, and check that all apps recover.

        A changed key ends the wait after a refusal; the wait after an outage is short.
        """
        troubled = self.dsm.recovered(self.real) + OUTAGE > self.real
        self.key.secret, self.key.version = "right", object()
        await self.schedule.advance(OUTAGE if troubled else LOOK_EVERY + 5)
        statuses = list(self.supervisor.statuses())
        assert {status.session.state for status in statuses} == {State.FRESH}


async def stop_one(task: asyncio.Task[object]) -> None:
    """Wait until a cancelled task has ended."""
    await asyncio.wait({task})
    assert task.cancelled()


async def through(host: Host, steps: list[Step]) -> None:
    """Carry out these steps, then repair the key."""
    await host.start()
    for step in steps:
        await host.do(step)
    assert host.dsm.most_within_a_day() <= MAX_REFUSALS
    await host.repair()
    await host.kill()


AFTER = st.one_of(st.floats(0, 10), st.floats(0, 3000), st.floats(0, DAY / 4))

LOST_IN_AN_OUTAGE = [Step("hang", 0.0), Step("flood", 0.0), Step("flood", 0.0)]
"""A key that was refused, followed by an attempt without an answer until it is repaired."""


def steps(*events: str) -> st.SearchStrategy[list[Step]]:
    """Draw steps."""
    return st.lists(st.builds(Step, st.sampled_from(events), AFTER), max_size=12)


@drawn(examples=20)
@given(
    steps("flood", "reload", "retune", "kill", "clock", "hang", "answer", "fail"),
    st.integers(1, 3),
)
def test_no_trouble_burns_a_key(happening: list[Step], apps: int) -> None:
    """Whatever happens to the daemon, in any order, and however the wall clock is set."""
    asyncio.run(through(Host(apps), happening))


@drawn(examples=20)
@example(LOST_IN_AN_OUTAGE, 1)
@given(steps("flood", "reload", "kill", "reboot", "hang", "answer"), st.integers(1, 3))
def test_no_reboot_burns_a_key(happening: list[Step], apps: int) -> None:
    """Boot time starts over, and the wall clock shows how long ago the refusals were."""
    asyncio.run(through(Host(apps), happening))


@pytest.mark.parametrize("event", ["flood", "reload", "retune", "kill", "reboot"])
async def test_a_day_of_one_event_burns_no_key(event: str) -> None:
    """Two hundred of one kind, as by a script or a supervisor."""
    host = Host(3)
    number = 20 if event == "flood" else 200
    happening = [Step(event, 60.0)] * number  # type: ignore[arg-type]  # one of them
    await through(host, happening)
    assert len(host.dsm.refusals) >= 10, "it was tried"


async def test_days_of_waiting_leave_logins_for_the_operator() -> None:
    """The schedule alone stays well below the limit, and goes on trying for ever."""
    host = Host(1)
    await host.start()
    await host.schedule.advance(2 * DAY)
    assert host.dsm.most_within_a_day() <= MAX_SCHEDULED
    assert len(host.dsm.refusals) >= 2 * DAY / SPACING - 1
    before = len(host.dsm.refusals)
    await host.do(Step("reload", 5.0))
    await host.schedule.advance(5)
    assert len(host.dsm.refusals) > before, "a reload ends the wait at once"
    await host.repair()
    await host.kill()


async def test_a_hundred_apps_with_one_wrong_key_log_in_once_at_a_time() -> None:
    """One refusal serves all of them, and so does one success."""
    host = Host(100)
    await host.start()
    await host.schedule.advance(1)
    assert len(host.dsm.refusals) == 1
    await host.do(Step("reload", 0.0))
    await host.schedule.advance(1)
    assert len(host.dsm.refusals) == 2
    await host.repair()
    assert host.dsm.sessions >= 100
    await host.kill()


async def test_suppressed_logins_do_not_count_as_attempts_and_do_not_spin() -> None:
    """DSM is not asked, so nothing is counted; and no app tries again before it may."""
    host = Host(2)
    await host.start()
    await host.schedule.advance(DAY)
    began = len(host.observer.of(AttemptBegan))
    assert began == len(host.dsm.refusals) <= MAX_SCHEDULED
    per_app: dict[str, int] = defaultdict(int)
    for event in host.observer.events:
        per_app[getattr(event, "app", "")] += 1
    # Suppressed logins are reported, at most one for each that was sent.
    assert max(per_app.values()) <= 4 * MAX_SCHEDULED
    status = host.supervisor.status("app-0")
    assert status is not None
    assert status.session.state is State.REJECTED
    assert host.clock.now() < status.session.next_attempt_at <= host.clock.now() + SPACING
    await host.kill()


async def test_a_key_that_works_survives_any_outage() -> None:
    """Many attempts during a long outage do not delay the recovery."""
    host = Host(12)
    host.key.secret = "right"
    host.dsm.fails = True
    await host.start()
    await host.schedule.advance(3600)
    host.dsm.fails, host.dsm.hangs = False, True
    await host.schedule.advance(3600)
    host.dsm.hangs = False
    await host.schedule.advance(60)
    states = {status.session.state for status in host.supervisor.statuses()}
    assert states == {State.FRESH}
    await host.kill()
