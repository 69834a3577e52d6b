"""Does an app make progress? What the service manager's watchdog is told rests on it."""

import asyncio
from itertools import chain, repeat

from fakes import grants, settle
from kept import Kept, running

from refresherd.domain.model import Instant
from refresherd.engine.app_runner import Keeper

BUG = RuntimeError("bug")


def overdue(app: Kept, keeper: Keeper) -> float:
    """Return for how many seconds the app has waited to be attended to."""
    return keeper.overdue(Instant(app.clock.now()))


async def test_an_app_that_is_renewed_in_time_is_not_overdue() -> None:
    """A healthy daemon must never be restarted."""
    app = Kept(grants())
    keeper = Keeper(app.app, app.equipment, app.world)
    async with running(keeper.run()):
        for _ in range(20):
            await app.schedule.advance(100)
            assert overdue(app, keeper) == 0


async def test_what_is_under_way_is_not_overdue() -> None:
    """An attempt has a timeout of its own, and may queue for long where an endpoint hangs."""
    hanging = asyncio.Event()
    app = Kept(chain([hanging], grants()))
    keeper = Keeper(app.app, app.equipment, app.world)
    async with running(keeper.run()):
        await app.schedule.advance(500)
        assert overdue(app, keeper) == 0
        hanging.set()
        await settle()
        assert keeper.view.life.token is not None


async def test_an_app_that_nobody_attends_to_is_overdue() -> None:
    """Its token runs out, whatever else goes on: only a restart helps."""
    app = Kept(grants())
    keeper = Keeper(app.app, app.equipment, app.world)
    async with running(keeper.run()):
        await settle()
    app.clock.advance(400)
    assert overdue(app, keeper) == 100


async def test_the_pause_after_a_crash_is_not_overdue() -> None:
    """One app's bug must not have the service manager end all the others."""
    app = Kept(chain(repeat(BUG, 100), grants()))
    app.luck = 0.999
    keeper = Keeper(app.app, app.equipment, app.world)
    async with running(keeper.run()):
        for _ in range(600):
            await app.schedule.advance(1)
            assert overdue(app, keeper) == 0
