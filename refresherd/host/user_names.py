"""The names of users, looked up in the background: a directory service may hang."""

import asyncio
import pwd

from refresherd.host.keyed_executor import KeyedExecutor

MAX_NAMES = 1024


class UserNames:
    """Remembers the names of uids. Belongs to one event loop; any thread may read."""

    def __init__(self, executor: KeyedExecutor) -> None:
        self._executor = executor
        self._names: dict[int, str] = {}
        self._look_ups: set[asyncio.Task[None]] = set()

    def name(self, uid: int) -> str:
        """Return a user's name, "" if it is not known."""
        return self._names.get(uid, "")

    def learn(self, uid: int) -> None:
        """Look up a user's name, unless it is known or being looked up."""
        if uid in self._names:
            return
        if len(self._names) >= MAX_NAMES:
            self._names.clear()
        self._names[uid] = ""
        look_up = asyncio.get_running_loop().create_task(self._look_up(uid))
        self._look_ups.add(look_up)
        look_up.add_done_callback(self._look_ups.discard)

    async def _look_up(self, uid: int) -> None:
        try:
            self._names[uid] = await self._executor.call("user names", lambda: _name(uid))
        except OSError:  # out of threads or descriptors; it is tried again for the next consumer
            self._names.pop(uid, None)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""
