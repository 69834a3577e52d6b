"""The schedule at work on a simulated machine: crowds, its end, and what breaks it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from apscheduler.schedulers import base

from refresherd.adapters.scheduling import BootSchedule
from refresherd.adapters.scheduling.timeline import MISSES
from refresherd.domain.events import ClockJumped
from refresherd.domain.model import Instant
from support.fakes import settle
from support.simulation import Machine, simulate

CROWD = 1000


@asynccontextmanager
async def running(schedule: BootSchedule) -> AsyncIterator[None]:
    """Run a schedule for the block."""
    run = asyncio.create_task(schedule.run())
    yield
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def wake_a_crowd(machine: Machine, first_step: float, woken: list[int]) -> None:
    """Have a crowd sleep through a suspend, and each of it hold up the loop when it wakes."""
    schedule, start = machine.schedule(), machine.boot

    async def sleeper(number: int) -> None:
        await schedule.alarm().wait(Instant(start + 1.0 + number / 1e9))
        woken.append(number)
        machine.block(first_step)

    async with running(schedule):
        quota = [asyncio.create_task(sleeper(number)) for number in range(CROWD)]
        await asyncio.sleep(0.5)
        machine.suspend(10.0)
        await asyncio.gather(*quota)


def test_a_crowd_is_woken_in_order_and_in_turns() -> None:
    """Ten thousand apps may be due at once after a suspend: others must get their turn between."""
    machine = Machine()
    woken: list[int] = []
    turns: list[int] = []

    def turn() -> None:
        turns.append(len(woken))
        machine.block(0.0001)
        if len(woken) < CROWD:
            asyncio.get_running_loop().call_soon(turn)

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.9, turn)
        await wake_a_crowd(machine, 0.0, woken)

    simulate(machine, main())
    assert woken == list(range(CROWD))
    assert max(after - before for before, after in pairwise(turns)) <= 64


def test_a_crowd_that_takes_long_is_no_fault() -> None:
    """On a slow host it takes many heartbeats, in which the crowd is overdue all along."""
    machine = Machine()
    woken: list[int] = []
    simulate(machine, wake_a_crowd(machine, 0.02, woken))
    assert len(woken) == CROWD


def test_a_crowd_is_woken_no_faster_than_it_can_be_served() -> None:
    """Who is woken and has to queue for a connection costs 6 KiB, which stay with the process."""
    machine = Machine()
    woken: list[int] = []
    simulate(machine, wake_a_crowd(machine, 0.0, woken))
    assert len(woken) == CROWD
    assert 0.25 < machine.monotonic - 1001.0 < 1.5, "a thousand take a third of a second"


def test_an_alarm_that_is_due_already_goes_off_at_once() -> None:
    """The first login of an app is due when it starts, and a ring when it is rung."""
    machine = Machine()

    async def main() -> None:
        schedule = machine.schedule()
        asleep = asyncio.create_task(schedule.alarm().wait(Instant(machine.boot - 1)))
        await settle()
        assert schedule.overdue(machine.now()) == 1.0
        assert not asleep.done()
        async with running(schedule):
            await asleep
            assert machine.monotonic == 1000.0
            assert schedule.overdue(machine.now()) == 0.0

    simulate(machine, main())


def test_aiming_is_rare_however_many_alarms_come() -> None:
    """Aiming APScheduler costs fifty times a push on the heap, and reloads add by the thousand."""
    machine = Machine()

    async def main() -> None:
        schedule = machine.schedule()
        async with running(schedule):
            await asyncio.sleep(0.1)
            before = machine.looks
            instants = [Instant(machine.boot + 1000 + number) for number in range(CROWD, 0, -1)]
            quota = [asyncio.create_task(schedule.alarm().wait(until)) for until in instants]
            await asyncio.sleep(0.1)
            assert machine.looks - before < 10
        for sleeper in quota:
            sleeper.cancel()

    simulate(machine, main())


def test_a_schedule_that_was_stopped_is_silent() -> None:
    """A daemon that is stopping must not be woken by what it has let go of."""
    machine = Machine()

    async def main() -> None:
        schedule = machine.schedule()
        asleep = asyncio.create_task(schedule.alarm().wait(Instant(machine.boot + 5)))
        async with running(schedule):
            await asyncio.sleep(1)
        before = machine.looks, len(machine.observer.events)
        await asyncio.sleep(60)
        assert (machine.looks, len(machine.observer.events)) == before
        assert not asleep.done()
        asleep.cancel()

    simulate(machine, main())


def test_apscheduler_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its lines about each job cost more than the job, and tell an operator nothing."""
    machine = Machine()

    async def main() -> None:
        schedule = machine.schedule()
        async with running(schedule):
            await schedule.alarm().wait(Instant(machine.boot + 5))

    with caplog.at_level(logging.DEBUG):
        simulate(machine, main())
    assert not [record for record in caplog.records if record.name.startswith("apscheduler")]


def test_the_host_needs_no_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minimal containers have no zone data, and APScheduler looks for the local zone by default."""

    def no_zone() -> None:
        raise LookupError("no time zone found")

    monkeypatch.setattr(base, "get_localzone", no_zone)
    Machine().schedule()


async def meet_deadlines(machine: Machine, hears: Callable[[int], bool], met: list[int]) -> None:
    """Run with a new deadline after each; APScheduler is deaf where it does not hear."""
    schedule = machine.schedule()

    async def sleeper() -> None:
        alarm = schedule.alarm()
        for number in range(20):
            machine.frozen_at = None if hears(number) else machine.read().wall
            await alarm.wait(Instant(machine.boot + 1.3))
            met.append(number)

    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(schedule.run())
        await tasks.create_task(sleeper())
        run.cancel()


def test_a_deaf_apscheduler_ends_the_schedule() -> None:
    """A daemon whose alarm clock is broken must be started anew, not limp on in silence."""
    machine = Machine()
    met: list[int] = []
    with pytest.raises(ExceptionGroup) as broken:
        simulate(machine, meet_deadlines(machine, lambda _: False, met))
    assert broken.group_contains(RuntimeError, match="APScheduler")
    assert len(met) == MISSES


def test_an_apscheduler_that_is_hard_of_hearing_is_borne_with() -> None:
    """Steps of the wall clock that are too small to be seen make it miss a deadline at times."""
    machine = Machine()
    met: list[int] = []
    simulate(machine, meet_deadlines(machine, lambda number: number % 3 == 0, met))
    assert met == list(range(20))


def test_what_breaks_in_a_heartbeat_ends_the_schedule() -> None:
    """APScheduler swallows what its jobs raise; a bug in ours must not be lost like that."""
    machine = Machine()

    def jumps() -> tuple[ClockJumped, ...]:
        raise LookupError("no clocks")

    async def main() -> None:
        await BootSchedule(machine, machine.observer, jumps).run()

    with pytest.raises(ExceptionGroup) as broken:
        simulate(machine, main())
    assert broken.group_contains(LookupError)


def test_what_breaks_while_sleepers_are_woken_ends_the_schedule() -> None:
    """The same for the other half of the machinery."""
    machine = Machine()

    class BrokenClock(Machine):
        def now(self) -> Instant:
            """Fail once the alarm is due."""
            if machine.monotonic > 1001:
                raise LookupError("no clocks")
            return machine.now()

    async def main() -> None:
        schedule = BootSchedule(BrokenClock(), machine.observer, lambda: ())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(schedule.alarm().wait(Instant(machine.boot + 1.5)))
            tasks.create_task(schedule.run())

    with pytest.raises(ExceptionGroup) as broken:
        simulate(machine, main())
    assert broken.group_contains(LookupError)
