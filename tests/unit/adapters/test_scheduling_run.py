"""The schedule on a simulated machine: many alarms at once, its end, and its failures."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from apscheduler.schedulers import base

from refresherd.adapters.scheduling import TOLERATED_MISSES, BootSchedule
from refresherd.domain.events import ClockJumped
from refresherd.domain.model import Instant
from support.fakes import settle
from support.simulation import Machine, simulate

MANY = 1000


@asynccontextmanager
async def running(schedule: BootSchedule) -> AsyncIterator[None]:
    """Run a schedule for the block."""
    run = asyncio.create_task(schedule.run())
    yield
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def wake_many(machine: Machine, work: float, woken: list[int]) -> None:
    """Let many alarms come due in a suspend; each task then blocks the loop for `work` seconds."""
    schedule, start = machine.schedule(), machine.boot

    async def task(number: int) -> None:
        await schedule.alarm().wait(Instant(start + 1.0 + number / 1e9))
        woken.append(number)
        machine.block(work)

    async with running(schedule):
        tasks = [asyncio.create_task(task(number)) for number in range(MANY)]
        await asyncio.sleep(0.5)
        machine.suspend(10.0)
        await asyncio.gather(*tasks)


def test_many_alarms_go_off_in_order_and_in_batches() -> None:
    """After a suspend ten thousand apps may be due, and other tasks must get their turn."""
    machine = Machine()
    woken: list[int] = []
    turns: list[int] = []

    def turn() -> None:
        turns.append(len(woken))
        machine.block(0.0001)
        if len(woken) < MANY:
            asyncio.get_running_loop().call_soon(turn)

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.9, turn)
        await wake_many(machine, 0.0, woken)

    simulate(machine, main())
    assert woken == list(range(MANY))
    assert max(after - before for before, after in pairwise(turns)) <= 64


def test_many_alarms_on_a_slow_host_are_no_fault() -> None:
    """It takes many heartbeats, and the remaining alarms are overdue all the time."""
    machine = Machine()
    woken: list[int] = []
    simulate(machine, wake_many(machine, 0.02, woken))
    assert len(woken) == MANY


def test_many_alarms_go_off_no_faster_than_apps_can_be_served() -> None:
    """A task that waits for a connection costs 6 KiB, which the process never gives back."""
    machine = Machine()
    woken: list[int] = []
    simulate(machine, wake_many(machine, 0.0, woken))
    assert len(woken) == MANY
    assert 0.25 < machine.monotonic - 1001.0 < 1.5, "a thousand take a third of a second"


def test_an_alarm_that_is_due_already_goes_off_at_once() -> None:
    """An app's first login is due when the app starts."""
    machine = Machine()

    async def main() -> None:
        schedule = machine.schedule()
        waiting = asyncio.create_task(schedule.alarm().wait(Instant(machine.boot - 1)))
        await settle()
        assert schedule.overdue(machine.now()) == 1.0
        assert not waiting.done()
        async with running(schedule):
            await waiting
            assert machine.monotonic == 1000.0
            assert schedule.overdue(machine.now()) == 0.0

    simulate(machine, main())


def test_the_timer_is_rarely_set_however_many_alarms_there_are() -> None:
    """Setting it costs fifty times as much as a push on the heap; a reload may add thousands."""
    machine = Machine()

    async def main() -> None:
        schedule = machine.schedule()
        async with running(schedule):
            await asyncio.sleep(0.1)
            before = machine.looks
            instants = [Instant(machine.boot + 1000 + number) for number in range(MANY, 0, -1)]
            tasks = [asyncio.create_task(schedule.alarm().wait(until)) for until in instants]
            await asyncio.sleep(0.1)
            assert machine.looks - before < 10
        for task in tasks:
            task.cancel()

    simulate(machine, main())


def test_a_stopped_schedule_does_nothing() -> None:
    """A daemon that is stopping must not be woken by alarms."""
    machine = Machine()

    async def main() -> None:
        schedule = machine.schedule()
        waiting = asyncio.create_task(schedule.alarm().wait(Instant(machine.boot + 5)))
        async with running(schedule):
            await asyncio.sleep(1)
        before = machine.looks, len(machine.observer.events)
        await asyncio.sleep(60)
        assert (machine.looks, len(machine.observer.events)) == before
        assert not waiting.done()
        waiting.cancel()

    simulate(machine, main())


def test_apscheduler_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its lines about each job cost more than the job, and are useless to an operator."""
    machine = Machine()

    async def main() -> None:
        schedule = machine.schedule()
        async with running(schedule):
            await schedule.alarm().wait(Instant(machine.boot + 5))

    with caplog.at_level(logging.DEBUG):
        simulate(machine, main())
    assert not [record for record in caplog.records if record.name.startswith("apscheduler")]


def test_the_host_needs_no_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minimal containers have no zone data, and by default APScheduler looks for the local zone."""

    def no_zone() -> None:
        raise LookupError("no time zone found")

    monkeypatch.setattr(base, "get_localzone", no_zone)
    Machine().schedule()


async def meet_deadlines(machine: Machine, rings: Callable[[int], bool], met: list[int]) -> None:
    """Wait for 20 deadlines in turn; APScheduler's clock stands still unless it `rings`."""
    schedule = machine.schedule()

    async def wait() -> None:
        alarm = schedule.alarm()
        for number in range(20):
            machine.frozen_at = None if rings(number) else machine.read().wall
            await alarm.wait(Instant(machine.boot + 1.3))
            met.append(number)

    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(schedule.run())
        await tasks.create_task(wait())
        run.cancel()


def test_an_apscheduler_that_never_rings_ends_the_schedule() -> None:
    """A daemon whose timer is broken must be restarted, and must not run on unnoticed."""
    machine = Machine()
    met: list[int] = []
    with pytest.raises(ExceptionGroup) as broken:
        simulate(machine, meet_deadlines(machine, lambda _: False, met))
    assert broken.group_contains(RuntimeError, match="APScheduler")
    assert len(met) == TOLERATED_MISSES


def test_single_misses_of_apscheduler_are_tolerated() -> None:
    """Steps of the wall clock that are too small to be detected may make it miss a deadline."""
    machine = Machine()
    met: list[int] = []
    simulate(machine, meet_deadlines(machine, lambda number: number % 3 == 0, met))
    assert met == list(range(20))


def test_an_error_in_a_heartbeat_ends_the_schedule() -> None:
    """APScheduler swallows the errors of its jobs, and a bug of ours must not be lost like that."""
    machine = Machine()

    def jumps() -> tuple[ClockJumped, ...]:
        raise LookupError("no clocks")

    async def main() -> None:
        await BootSchedule(machine, machine.observer, jumps).run()

    with pytest.raises(ExceptionGroup) as broken:
        simulate(machine, main())
    assert broken.group_contains(LookupError)


def test_an_error_while_alarms_go_off_ends_the_schedule() -> None:
    """It must not be lost either."""
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
