"""Notices what others do to the outputs of all apps."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NoReturn

from refresherd.engine.app_runner import AppRunner
from refresherd.engine.delivery import WatchedDelivery
from refresherd.engine.ports import Alteration
from refresherd.engine.supervisor import Supervisor
from refresherd.host.keyed_executor import KeyedExecutor

EVERY_SECONDS = 4.0
"""Between two looks at an output, which cost 2 µs each. inotify would be faster, but needs a watch
for each directory and its parents, and misses changes on network filesystems and by mounts."""

BATCH = 256
"""Outputs looked at before a write to the same directory gets its turn."""

Watched = tuple[AppRunner, WatchedDelivery]


class OutputWatch:
    """One task for the outputs of all apps.

    They are looked at in threads, each directory by itself: one that hangs is looked at again when
    it answers, and delays no other.
    """

    def __init__(
        self, apps: Supervisor, executor: KeyedExecutor, *, every: float = EVERY_SECONDS
    ) -> None:
        self._apps = apps
        self._executor = executor
        self._every = every
        self._under_way: dict[str, asyncio.Task[None]] = {}
        """The looks that have not ended, by directory."""

    async def run(self) -> NoReturn:
        """Look at all outputs again and again, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(self._every)
                await self._start(tasks)

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        directories: dict[str, list[Watched]] = {}
        for number, (runner, delivery) in enumerate(self._watched(), start=1):
            directory = delivery.output.directory
            if directory not in self._under_way:
                directories.setdefault(directory, []).append((runner, delivery))
            if number % BATCH == 0:
                await asyncio.sleep(0)
        for number, (directory, watched) in enumerate(directories.items(), start=1):
            look = tasks.create_task(self._look(directory, watched))
            self._under_way[directory] = look
            look.add_done_callback(partial(self._ended, directory))
            if number % BATCH == 0:
                await asyncio.sleep(0)

    def _watched(self) -> Iterator[Watched]:
        return ((runner, one) for runner in self._apps.runners() for one in runner.outputs)

    def _ended(self, directory: str, _: object) -> None:
        del self._under_way[directory]

    async def _look(self, directory: str, watched: Sequence[Watched]) -> None:
        for start in range(0, len(watched), BATCH):
            batch = watched[start : start + BATCH]
            for (runner, delivery), found in await self._executor.call(
                directory, partial(_altered, batch)
            ):
                runner.altered(delivery, found)


def _altered(batch: Sequence[Watched]) -> list[tuple[Watched, Alteration]]:
    """Return the outputs that are not as they were left. It blocks."""
    looks = ((one, one[1].output.look()) for one in batch)
    return [(one, found) for one, found in looks if found is not None]
