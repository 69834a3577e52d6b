"""The newest life of each app: one writer each, and watchers who see the newest only."""

import asyncio

from refresherd.lifecycle import Life


class Cell:
    """One app's newest life. Its refresher publishes; everyone else reads it as a TokenView."""

    __slots__ = ("_life", "_version", "_watchers")

    def __init__(self, life: Life) -> None:
        self._life = life
        self._version = 1
        self._watchers: list[asyncio.Future[None]] = []

    @property
    def life(self) -> Life:
        """The newest life."""
        return self._life

    @property
    def version(self) -> int:
        """Grows with each new life."""
        return self._version

    def publish(self, life: Life) -> None:
        """Replace the life and wake everyone who waits for a change."""
        self._life = life
        self._version += 1
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    async def changed(self, since: int) -> int:
        """Return the newest version as soon as it is past `since`."""
        while self._version <= since:
            watcher = asyncio.get_running_loop().create_future()
            self._watchers.append(watcher)
            try:
                await watcher
            finally:
                if watcher in self._watchers:
                    self._watchers.remove(watcher)
        return self._version
