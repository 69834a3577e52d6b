"""When the watchdog is pinged, and when it is left to act."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresherd.adapters.systemd.watchdog import ping, warnings
from refresherd.domain.model import ApiKeyFile, App, Endpoint, HookSpec
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


def live(manager: ServiceManager, seconds: float, fault: str = "") -> tuple[int, list[str]]:
    """Let a daemon live for a while; return the number of pings, and what it complained about."""
    notifier, complaints = Notifier(manager.address), list[str]()

    async def lived() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(str(context["message"])))
        loop.add_reader(manager, manager.read)
        task = asyncio.create_task(ping(notifier, INTERVAL, lambda: fault))
        await asyncio.sleep(seconds)
        task.cancel()

    simulate(Machine(), lived())
    notifier.close()
    return [message.lines for message in manager.take()].count(("WATCHDOG=1",)), complaints


def test_a_daemon_at_work_pings_three_times_in_the_interval(manager: ServiceManager) -> None:
    """Two pings may be lost before the service manager acts."""
    assert live(manager, 300.5) == (30, [])


def test_a_daemon_that_does_not_work_gets_no_pings(manager: ServiceManager) -> None:
    """Only a restart helps, and the log has its cause."""
    complaint = "it is stuck; the watchdog gets no ping until that changes"
    assert live(manager, 20.5, "it is stuck") == (0, [complaint] * 2)


def test_an_interval_shorter_than_a_step_causes_a_warning() -> None:
    """An operator who writes WatchdogSec=5 should learn that an attempt may take 20 s."""
    app = App("a", Endpoint("https://dsm", timeout=20.0), ApiKeyFile(Path("key")))
    hooked = App("b", app.endpoint, app.credential, hooks=(HookSpec(("x",), timeout=45.0),))
    assert "20 s for apps.a (dsm.timeout)" in warnings(5.0, [app])[0]
    assert "45 s for apps.b.hooks[0].timeout" in warnings(30.0, [app, hooked])[0]
    assert warnings(30.0, [app]) == []
