"""Notices what others do to the outputs of all apps."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from refresherd.engine.app_runner import AppRunner
from refresherd.engine.delivery import WatchedDelivery
from refresherd.engine.ports import Alteration
from refresherd.engine.supervisor import Supervisor, in_batches
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
        self._under_way: set[str] = set()
        """The directories at whose outputs a thread is looking."""

    async def run(self) -> NoReturn:
        """Look at all outputs again and again, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(self._every)
                await self._start(tasks)

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        directories: defaultdict[str, list[Watched]] = defaultdict(list)
        async for runner in in_batches(self._apps.runners()):
            for delivery in runner.outputs:
                directories[delivery.output.directory].append((runner, delivery))
        async for directory, watched in in_batches(directories.items()):
            if directory not in self._under_way:
                self._under_way.add(directory)
                tasks.create_task(self._look(directory, watched))

    async def _look(self, directory: str, watched: Sequence[Watched]) -> None:
        for start in range(0, len(watched), BATCH):
            look = partial(_altered, watched[start : start + BATCH])
            for (runner, delivery), found in await self._executor.call(directory, look):
                runner.altered(delivery, found)
        self._under_way.remove(directory)


def _altered(batch: Sequence[Watched]) -> list[tuple[Watched, Alteration]]:
    """Return the outputs that are not as they were left. It blocks."""
    looks = ((one, one[1].output.look()) for one in batch)
    return [(one, found) for one, found in looks if found is not None]
