"""The newest life of each app: one writer each, and watchers who see the newest only."""

import asyncio

from refresherd.domain.session_state import SessionState


class StateCell:
    """One app's newest life. Its refresher publishes; everyone else reads it as a TokenView."""

    __slots__ = ("_closed", "_session", "_version", "_watchers")

    def __init__(self, session: SessionState) -> None:
        self._session = session
        self._version = 1
        # A dictionary for its order, in which they are woken, and for leaving at no cost.
        self._watchers: dict[asyncio.Future[None], None] = {}
        self._closed = False

    @property
    def session(self) -> SessionState:
        """The newest life."""
        return self._session

    @property
    def version(self) -> int:
        """Grows with each new life."""
        return self._version

    @property
    def closed(self) -> bool:
        """Whether the app is kept no longer: its life does not change any more."""
        return self._closed

    def publish(self, session: SessionState) -> None:
        """Replace the life and wake everyone who waits for a change."""
        self._session = session
        self._version += 1
        self._wake()

    def close(self) -> None:
        """Have everyone know that nothing will change any more."""
        self._closed = True
        self._wake()

    async def changed(self, since: int) -> int:
        """Return the newest version as soon as it is past `since`, or when the cell is closed."""
        while self._version <= since and not self._closed:
            watcher = asyncio.get_running_loop().create_future()
            self._watchers[watcher] = None
            try:
                await watcher
            finally:
                self._watchers.pop(watcher, None)
        return self._version

    def _wake(self) -> None:
        watchers, self._watchers = self._watchers, {}
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)
