"""Keeps one app: its refresher, deliveries and hooks, started over if a bug ends them."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import NoReturn

from refresherd import policy
from refresherd.delivery import Delivery
from refresherd.equipment import Equipment
from refresherd.events import AppCrashed
from refresherd.lifecycle import begin
from refresherd.model import App, Instant, Timing, Token
from refresherd.notification import Notification
from refresherd.ports import TokenView
from refresherd.readiness import AppStatus
from refresherd.refresher import Chore, Refresher
from refresherd.renewal import Renewal
from refresherd.retirement import end_session, ended
from refresherd.store import Cell
from refresherd.world import World

RESTARTS = Timing(retry_min=1.0, retry_max=60.0)

FORGIVEN_AFTER = 300.0
"""Seconds without a crash after which the next one counts as the first."""


class Keeper:
    """All that runs for one app. What it knows of the session outlives a crash."""

    __slots__ = ("_cell", "_deliveries", "_equipment", "_refresher", "_renewal", "_world", "app")

    def __init__(self, app: App, equipment: Equipment, world: World) -> None:
        self.app = app
        self._equipment = equipment
        self._world = world
        self._cell = Cell(begin(world.clock.now()))
        self._renewal = Renewal(app, self._cell, equipment, world)
        self._deliveries = tuple(
            Delivery(app.name, output, self._cell, world) for output in equipment.outputs
        )
        chores: tuple[Chore, ...] = (
            self._renewal.refusal,
            self._renewal.retirement,
            *self._deliveries,
        )
        if hooks := equipment.hooks:
            told = Notification(app.name, hooks, self._deliveries, self._cell, world)
            chores = (*chores, told)
        self._refresher = Refresher(app, self._cell, self._renewal, chores, world)

    @property
    def view(self) -> TokenView:
        """The app's life, for readers."""
        return self._cell

    def status(self) -> AppStatus:
        """Return what readers are told of the app."""
        outputs = tuple(delivery.status for delivery in self._deliveries)
        return AppStatus(self.app.name, self._cell.life, outputs)

    def refresh(self) -> None:
        """Make an attempt now; one that is under way serves."""
        self._refresher.refresh()

    async def run(self) -> NoReturn:
        """Keep the app until cancelled; a bug in it stays its own."""
        crashes = 0
        while True:
            began = self._world.clock.now()
            try:
                await self._refresher.run()
            except Exception as error:  # noqa: BLE001  # the guard between the failure domains
                lasted = self._world.clock.now() - began
                crashes = 1 if lasted > FORGIVEN_AFTER else crashes + 1
                pause = policy.backoff(crashes, RESTARTS, self._world.luck())
                self._world.observer.observe(AppCrashed(self.app.name, error, pause))
                _heed_cancellation()
            alarm = self._world.schedule.alarm()
            await alarm.wait(Instant(self._world.clock.now() + pause))

    def close(self) -> None:
        """Let go of everyone who waits for the app, and serve its token no more."""
        self._cell.close()
        for delivery in self._deliveries:
            delivery.close()

    async def end(self) -> None:
        """End the app's sessions for good, and take its token from the outputs first.

        Only to be called once `run` was cancelled and awaited.
        """
        token = self._cell.life.token
        replaced = self._renewal.retirement.pending
        if token is not None:
            await _together(delivery.clear() for delivery in self._deliveries)
        tokens = replaced if token is None else (*replaced, token)
        await _together(self._end(token) for token in tokens)

    async def _end(self, token: Token) -> None:
        error = await end_session(self.app, self._equipment, token)
        self._world.observer.observe(ended(self.app, error))


def _heed_cancellation() -> None:
    """Raise CancelledError if the task was cancelled while a TaskGroup in it was failing.

    The errors have priority then, and up to Python 3.12 the cancellation is never seen again.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _together(works: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(work)
