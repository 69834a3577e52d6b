"""Whether an app makes progress: the service manager's watchdog relies on it."""

import asyncio
from itertools import chain, repeat

from refresherd.domain.model import Instant
from refresherd.engine.app_runner import AppRunner
from support.fake_app import FakeApp, running
from support.fakes import grants, settle

BUG = RuntimeError("bug")


def overdue(app: FakeApp, runner: AppRunner) -> float:
    """Return for how many seconds the app has been due and not started."""
    return runner.overdue(Instant(app.clock.now()))


async def test_an_app_that_is_renewed_in_time_is_not_overdue() -> None:
    """A healthy daemon must never be restarted."""
    app = FakeApp(grants())
    runner = AppRunner(app.app, app.app_context, app.context)
    async with running(runner.run()):
        for _ in range(20):
            await app.schedule.advance(100)
            assert overdue(app, runner) == 0


async def test_what_is_under_way_is_not_overdue() -> None:
    """An attempt has a timeout of its own, and may queue for long if an endpoint hangs."""
    hanging = asyncio.Event()
    app = FakeApp(chain([hanging], grants()))
    runner = AppRunner(app.app, app.app_context, app.context)
    async with running(runner.run()):
        await app.schedule.advance(500)
        assert overdue(app, runner) == 0
        hanging.set()
        await settle()
        assert runner.cell.session.token is not None


async def test_an_app_whose_task_does_not_run_is_overdue() -> None:
    """Its token runs out, and only a restart helps."""
    app = FakeApp(grants())
    runner = AppRunner(app.app, app.app_context, app.context)
    async with running(runner.run()):
        await settle()
    app.clock.advance(400)
    assert overdue(app, runner) == 100


async def test_the_pause_after_a_crash_is_not_overdue() -> None:
    """One app's bug must not make the service manager end all the others."""
    app = FakeApp(chain(repeat(BUG, 100), grants()))
    app.rng = 0.999
    runner = AppRunner(app.app, app.app_context, app.context)
    async with running(runner.run()):
        for _ in range(600):
            await app.schedule.advance(1)
            assert overdue(app, runner) == 0
