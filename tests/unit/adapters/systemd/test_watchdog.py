"""When the watchdog is pinged, and when it is left to act."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.systemd.watchdog import MAX_OVERDUE, ping, stalled, warnings
from refresherd.domain.model import ApiKeyFile, App, Endpoint, HookSpec, Instant
from refresherd.host.clock import JumpDetector
from refresherd.host.service_manager import Notifier
from support.service_manager import ServiceManager, manager_at
from support.simulation import Machine, simulate

INTERVAL = 30.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """Yield a service manager that listens."""
    manager = manager_at(tmp_path)
    yield manager
    manager.close()


class Daemon:
    """A daemon on a simulated machine, whose schedule and loop can be delayed."""

    def __init__(self, manager: ServiceManager) -> None:
        self.machine = Machine()
        self.due = Instant(self.machine.boot + 1e9)
        self.faults: list[str] = []
        self._manager = manager
        self._notifier = Notifier(manager.address)

    def live(self, story: list[tuple[float, str, float]]) -> None:
        """For each step, let some seconds pass and then something happen."""
        simulate(self.machine, self._live(story))
        self._notifier.close()

    def overdue(self, now: Instant) -> float:
        """Return how long work has been due."""
        return max(0.0, now - self.due)

    async def _live(self, story: list[tuple[float, str, float]]) -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.faults.append(str(context["message"]))
        )
        jumps = JumpDetector(self.machine.read).jumps
        pinging = ping(self._notifier, INTERVAL, self.machine, self.overdue, jumps)
        asyncio.get_running_loop().add_reader(self._manager, self._manager.read)
        task = asyncio.create_task(pinging)
        for seconds, action, amount in story:
            await asyncio.sleep(seconds)
            if action == "due":
                self.due = Instant(self.machine.boot + amount)
            elif action:
                getattr(self.machine, action)(amount)
        task.cancel()


def pings(manager: ServiceManager) -> int:
    """Return the number of pings."""
    return [message.lines for message in manager.take()].count(("WATCHDOG=1",))


def test_a_daemon_at_work_pings_three_times_in_the_interval(manager: ServiceManager) -> None:
    """Two pings may be lost before the service manager acts."""
    Daemon(manager).live([(300.5, "", 0)])
    assert pings(manager) == 30


def test_a_dead_schedule_gets_no_pings(manager: ServiceManager) -> None:
    """The event loop runs but no token is renewed: only a restart helps."""
    daemon = Daemon(manager)
    daemon.live([(10.5, "due", 0.0), (200.0, "", 0)])
    assert pings(manager) == 1 + int(MAX_OVERDUE // 10)
    assert "due work has not been started for 40 s" in daemon.faults[0]


def test_a_suspend_is_not_taken_for_a_dead_schedule(manager: ServiceManager) -> None:
    """After eight hours of suspend everything is overdue, and is started within seconds."""
    daemon = Daemon(manager)
    daemon.live([(15.0, "due", 5.0), (1.0, "suspend", 28_800.0), (8.0, "due", 300.0), (20, "", 0)])
    assert pings(manager) == 4
    assert daemon.faults == []


def test_a_slow_event_loop_gets_no_pings(manager: ServiceManager) -> None:
    """A loop that is late each time serves no client in time."""
    daemon = Daemon(manager)
    daemon.live([(9.0, "block", 25.0), (0.5, "", 0)])
    assert pings(manager) == 0
    assert "the event loop is 24.0 s late" in daemon.faults[0]


@given(st.floats(0, MAX_OVERDUE), st.floats(0, 10))
def test_within_the_bounds_there_is_no_fault(overdue: float, lag: float) -> None:
    """A restart would make a slow machine slower."""
    assert stalled(overdue, lag, 10.0) == ""


@given(st.floats(min_value=30.001), st.floats(0))
def test_beyond_a_bound_there_is_a_fault(overdue: float, lag: float) -> None:
    """Otherwise the log would not have the cause of the restart."""
    assert stalled(overdue, lag, 10.0)
    assert stalled(0.0, overdue, 10.0)


def test_an_interval_shorter_than_a_step_causes_a_warning() -> None:
    """An operator who writes WatchdogSec=5 should learn that an attempt may take 20 s."""
    app = App("a", Endpoint("https://dsm", timeout=20.0), ApiKeyFile(Path("key")))
    hooked = App("b", app.endpoint, app.credential, hooks=(HookSpec(("x",), timeout=45.0),))
    assert "20 s for apps.a (dsm.timeout)" in warnings(5.0, [app])[0]
    assert "45 s for apps.b.hooks[0].timeout" in warnings(30.0, [app, hooked])[0]
    assert warnings(30.0, [app]) == []
