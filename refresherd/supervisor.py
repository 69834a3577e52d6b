"""Which apps run: starts and stops their keepers, and answers for all of them."""

import asyncio
from collections.abc import Iterable, Iterator

from refresherd.equipment import Equip
from refresherd.keeper import Keeper
from refresherd.model import App
from refresherd.readiness import AppStatus
from refresherd.world import World

BATCH = 64
"""Apps started before the event loop gets its turn."""


class Supervisor:
    """Runs a keeper for each app; a Roster for readers, complete from the start."""

    def __init__(self, apps: Iterable[App], equip: Equip, world: World) -> None:
        self._keepers = {app.name: Keeper(app, equip(app), world) for app in apps}

    def statuses(self) -> Iterator[AppStatus]:
        """Return what is known of every app, in the configuration's order."""
        return (keeper.status() for keeper in tuple(self._keepers.values()))

    def status(self, name: str) -> AppStatus | None:
        """Return what is known of an app, None if there is none of that name."""
        keeper = self._keepers.get(name)
        return None if keeper is None else keeper.status()

    def kept(self, name: str) -> Keeper | None:
        """Return an app's keeper, None if there is none of that name."""
        return self._keepers.get(name)

    def refresh_all(self) -> None:
        """Have every app refreshed now; the endpoints' gates spread the attempts."""
        for keeper in self._keepers.values():
            keeper.refresh()

    async def run(self) -> None:
        """Keep all apps until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number, keeper in enumerate(self._keepers.values(), start=1):
                    tasks.create_task(keeper.run())
                    if number % BATCH == 0:
                        await asyncio.sleep(0)
        finally:
            for keeper in self._keepers.values():
                keeper.close()

    async def end_sessions(self) -> None:
        """End every app's sessions, once `run` was cancelled and awaited.

        Raises an ExceptionGroup of the bugs met, when all that could be ended has been.
        """
        ends = (keeper.end() for keeper in self._keepers.values())
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        if bugs := [outcome for outcome in outcomes if isinstance(outcome, Exception)]:
            raise ExceptionGroup("sessions could not be ended", bugs)
