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
"""Seconds after which a test has failed: far more than it needs."""


class Daemon:
    """A schedule that runs as the daemon runs it."""

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
    """On the real clocks, and never early: a wait that returned early would be asked again."""
    daemon = Daemon()
    woken: list[int] = []

    async def sleeper(number: int, until: Instant) -> float:
        await daemon.schedule.alarm().wait(until)
        woken.append(number)
        return daemon.clock.now() - until

    async with daemon.running():
        late = await asyncio.gather(
            *(sleeper(number, daemon.after(0.3 - number / 50)) for number in range(10))
        )
    assert woken == list(range(9, -1, -1))
    assert all(0 <= seconds < 1 for seconds in late)


async def test_an_alarm_can_be_waited_on_over_and_over() -> None:
    """A refresher waits, is rung, and waits again for as long as the daemon lives."""
    daemon = Daemon()
    alarm = daemon.schedule.alarm()
    async with daemon.running():
        for _ in range(5):
            await alarm.wait(daemon.after(0.01))
            rung = asyncio.create_task(alarm.wait(NEVER))
            await asyncio.sleep(0.01)
            alarm.ring()
            await rung


async def test_each_heartbeat_tells_its_lag() -> None:
    """The gauge must be there from the first second, and no jump be seen where none was."""
    daemon = Daemon(heartbeat=0.02)
    async with daemon.running():
        await daemon.schedule.alarm().wait(daemon.after(0.3))
    lags = [event.lag for event in daemon.observer.of(LoopLagged)]
    assert len(lags) >= 2
    assert min(lags) >= 0
    assert daemon.observer.of(ClockJumped) == []


@pytest.fixture
def _no_collections() -> Iterator[None]:
    """Keep what other tests left from being collected on this one's time."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collections")
async def test_ten_thousand_due_at_once_do_not_hold_up_the_loop() -> None:
    """After a suspend all apps are due, and the API must go on answering meanwhile.

    Counted in this thread's CPU time, so that a busy host does not fail it.
    """
    daemon = Daemon()
    woken = 0
    longest = 0.0
    loop = asyncio.get_running_loop()

    async def sleeper(until: Instant) -> None:
        nonlocal woken
        await daemon.schedule.alarm().wait(until)
        woken += 1

    def look(last: float) -> None:
        nonlocal longest
        now = time.thread_time()
        longest = max(longest, now - last)
        if woken < 10_000:
            loop.call_soon(look, now)

    until = daemon.after(0.5)
    all_awake = asyncio.gather(*(sleeper(until) for _ in range(10_000)))
    async with daemon.running():
        # Let the sleepers fall asleep before looking.
        await asyncio.sleep(0.01)
        look(time.thread_time())
        await all_awake
    assert longest < 0.05
