"""The newest session state of an app: one writer, and watchers who see the newest only."""

import asyncio

from refresherd.domain.session_state import SessionState


class StateCell:
    """Holds one app's session state. Only the app's own tasks publish; anyone may read."""

    __slots__ = ("_watchers", "closed", "session", "version")

    def __init__(self, session: SessionState) -> None:
        self.session = session
        """The newest state; to be replaced by `publish` only."""

        self.version = 1
        """Grows with each new state."""

        self.closed = False
        """Whether the app has been removed, so that its state does not change any more."""

        # A dictionary for its order, in which they are woken, and because leaving it is cheap.
        self._watchers: dict[asyncio.Future[None], None] = {}

    def publish(self, session: SessionState) -> None:
        """Replace the state and wake everyone who waits for a change."""
        self.session = session
        self.version += 1
        self._wake()

    def close(self) -> None:
        """Wake everyone who waits: nothing will change any more."""
        self.closed = True
        self._wake()

    async def changed(self, since: int) -> int:
        """Return the newest version as soon as it is past `since`, or the cell is closed."""
        while self.version <= since and not self.closed:
            watcher = asyncio.get_running_loop().create_future()
            self._watchers[watcher] = None
            try:
                await watcher
            finally:
                self._watchers.pop(watcher, None)
        return self.version

    def _wake(self) -> None:
        watchers, self._watchers = self._watchers, {}
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)
