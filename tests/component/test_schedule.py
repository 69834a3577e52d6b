"""The schedule on the kernel's clocks and a real event loop."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from refresherd.adapters.scheduling import BootSchedule
from refresherd.domain.events import ClockJumped, LoopLagged
from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER
from refresherd.host.clock import BootClock, JumpDetector
from support.fakes import RecordingObserver

BOUND = 10.0
"""Seconds after which a test fails, far more than it needs."""


class Daemon:
    """A schedule with the parts that the daemon gives it."""

    def __init__(self, heartbeat: float = 0.05) -> None:
        self.clock = BootClock()
        self.observer = RecordingObserver()
        self.schedule = BootSchedule(self.clock, self.observer, JumpDetector().jumps, heartbeat)

    def after(self, seconds: float) -> Instant:
        """Return an instant that many seconds from now."""
        return Instant(self.clock.now() + seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the schedule for the block."""
        async with asyncio.timeout(BOUND):
            run = asyncio.create_task(self.schedule.run())
            yield
            assert not run.done()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run


async def test_alarms_go_off_in_time_and_in_order() -> None:
    """An alarm must never go off early, on the kernel's clocks either."""
    daemon = Daemon()
    woken: list[int] = []

    async def wait(number: int, until: Instant) -> float:
        await daemon.schedule.alarm().wait(until)
        woken.append(number)
        return daemon.clock.now() - until

    async with daemon.running():
        late = await asyncio.gather(
            *(wait(number, daemon.after(0.3 - number / 50)) for number in range(10))
        )
    assert woken == list(range(9, -1, -1))
    assert all(0 <= seconds < 1 for seconds in late)


async def test_an_alarm_can_be_used_again_and_again() -> None:
    """A refresher waits, is rung, and waits again, as long as the daemon lives."""
    daemon = Daemon()
    alarm = daemon.schedule.alarm()
    async with daemon.running():
        for _ in range(5):
            await alarm.wait(daemon.after(0.01))
            rung = asyncio.create_task(alarm.wait(NEVER))
            await asyncio.sleep(0.01)
            alarm.ring()
            await rung


async def test_each_heartbeat_reports_its_lag() -> None:
    """The gauge must exist from the first second, and no jump be reported without one."""
    daemon = Daemon(heartbeat=0.02)
    async with daemon.running():
        await daemon.schedule.alarm().wait(daemon.after(0.3))
    lags = [event.lag for event in daemon.observer.of(LoopLagged)]
    assert len(lags) >= 2
    assert min(lags) >= 0
    assert daemon.observer.of(ClockJumped) == []


@pytest.fixture
def _no_collections() -> Iterator[None]:
    """Keep the garbage of other tests from being collected during this one."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collections")
async def test_ten_thousand_alarms_at_once_do_not_block_the_loop() -> None:
    """After a suspend all apps are due, and the API must go on answering meanwhile.

    The test counts this thread's CPU time, so that it does not fail on a busy host.
    """
    daemon = Daemon()
    woken = 0
    longest = 0.0
    loop = asyncio.get_running_loop()

    async def wait(until: Instant) -> None:
        nonlocal woken
        await daemon.schedule.alarm().wait(until)
        woken += 1

    def measure(last: float) -> None:
        nonlocal longest
        now = time.thread_time()
        longest = max(longest, now - last)
        if woken < 10_000:
            loop.call_soon(measure, now)

    until = daemon.after(0.5)
    all_awake = asyncio.gather(*(wait(until) for _ in range(10_000)))
    async with daemon.running():
        # Let all tasks begin to wait before measuring.
        await asyncio.sleep(0.01)
        measure(time.thread_time())
        await all_awake
    assert longest < 0.05
