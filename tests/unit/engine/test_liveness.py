"""Whether the daemon does its work, on a simulated machine with the real heartbeat."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.events import LoopLagged
from refresherd.domain.model import Instant
from refresherd.engine.liveness import LOOK_SECONDS, MAX_LAG, MAX_OVERDUE, Liveness
from support.fakes import FakeClock
from support.simulation import Machine, simulate

HOURS = 8 * 3600.0


class Daemon:
    """A daemon whose schedule and loop can be delayed. `due` is when work has been due."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.due = Instant(self.machine.boot + 1e9)
        self.looks = 0
        self.liveness = Liveness(self.machine, self.overdue)

    def overdue(self, now: Instant) -> float:
        """Return how long work has been due."""
        self.looks += 1
        return max(0.0, now - self.due)

    def live(self, *story: tuple[float, str, float]) -> list[str]:
        """For each step, let some seconds pass, let something happen, and return the fault then."""
        faults: list[str] = []

        async def lived() -> None:
            beating = asyncio.create_task(self.machine.schedule(self.liveness).run())
            for seconds, action, amount in story:
                await asyncio.sleep(seconds)
                if action == "due":
                    self.due = Instant(self.machine.boot + amount)
                elif action:
                    getattr(self.machine, action)(amount)
                faults.append(self.liveness.fault())
            beating.cancel()

        simulate(self.machine, lived())
        return faults


def test_a_daemon_at_work_has_no_fault() -> None:
    """A restart would make a slow machine slower."""
    assert (
        Daemon().live((0.0, "", 0), (0.5, "", 0), (5.0, "block", MAX_LAG), (600.0, "", 0))
        == [""] * 4
    )


def test_work_that_is_not_started_is_a_fault_until_it_is() -> None:
    """The event loop runs but no token is renewed."""
    daemon = Daemon()
    assert daemon.live(
        (100.0, "due", 0.0), (30.0, "", 0), (2.0, "", 0), (1.5, "due", 1e9), (2.0, "", 0)
    ) == ["", "", "due work has not been started for 32 s", "", ""]


def test_a_loop_that_was_blocked_is_a_fault_until_it_runs_on_time() -> None:
    """Requests that waited for it must not be told that all is well."""
    faults = Daemon().live((10.5, "block", 25.0), (0.2, "", 0), (2.0, "", 0))
    assert faults == ["the event loop is 24.5 s late", "the event loop is 24.5 s late", ""]


def test_a_dead_heartbeat_is_a_fault() -> None:
    """The schedule stands still though the loop runs, so nothing is ever due."""
    machine = Machine()
    liveness = Liveness(machine, lambda _: 0.0)
    faults: list[str] = []

    async def lived() -> None:
        beating = asyncio.create_task(machine.schedule(liveness).run())
        await asyncio.sleep(5.5)
        beating.cancel()
        await asyncio.sleep(1.0 + MAX_LAG)
        faults.append(liveness.fault())

    simulate(machine, lived())
    assert faults == ["the event loop is 10.5 s late"]


def test_a_suspend_is_no_fault() -> None:
    """After eight hours everything is overdue, and is started within seconds."""
    daemon = Daemon()
    assert daemon.live(
        (15.0, "due", 5.0),
        (6.0, "suspend", HOURS),
        (0.1, "", 0),
        (8.0, "", 0),
        (MAX_OVERDUE, "", 0),
    ) == ["", "", "", "", f"due work has not been started for {MAX_OVERDUE + 8.1:.0f} s"]


def test_before_the_first_heartbeat_there_is_no_lag() -> None:
    """A large configuration may take a while to start."""
    machine, faults = Machine(), list[str]()
    liveness = Liveness(machine, lambda _: 0.0)

    async def lived() -> None:
        await asyncio.sleep(60.0)
        faults.append(liveness.fault())

    simulate(machine, lived())
    assert faults == [""]


def test_probes_in_a_flood_look_for_overdue_work_once_a_second() -> None:
    """A look at ten thousand apps takes milliseconds."""
    daemon = Daemon()
    daemon.live(*[(0.01, "", 0.0)] * 200)
    assert daemon.looks == 2 / LOOK_SECONDS


@given(st.floats(0, 1e6), st.floats(0, 1e6))
async def test_there_is_a_fault_beyond_either_bound_only(overdue: float, lag: float) -> None:
    """Both bounds are documented."""
    clock = FakeClock(1e7)
    liveness = Liveness(clock, lambda _: overdue)
    liveness.observe(LoopLagged(lag))
    late = overdue > MAX_OVERDUE or lag > MAX_LAG
    assert bool(liveness.fault()) == late
