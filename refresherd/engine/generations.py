"""Numbers each app's tokens, so that no two of them ever have the same generation."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from refresherd.engine.ports import GenerationStore


class Generations:
    """The last generation of each app, across reloads and, with a store, across restarts.

    A generation is recorded before its token is requested, so that no number is used twice, even
    after a kill. Attempts that begin together share a write, and further attempts at the same token
    need none. An app that stops without that token gives its number back.
    """

    def __init__(
        self,
        store: GenerationStore | None = None,
        known: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Continue from what the store holds, and from `known`, by app."""
        self._store = store
        self._loaded = store is None
        self._last = dict(known)
        self._reserved: set[str] = set()
        """The apps of which a generation was recorded in this run."""
        self._unsaved: dict[str, int] = {}
        self._saving = asyncio.Lock()

    async def last(self, app: str) -> int:
        """Return the generation of an app's last token before it was started, 0 if it had none.

        Once it has reserved a generation itself, this is 0: only the app knows its last token.
        """
        if not self._loaded:
            await self._load()
        return 0 if app in self._reserved else self._last.get(app, 0)

    async def reserve(self, app: str, generation: int) -> None:
        """Record that the app may get a token of this generation; return once it is saved."""
        if self._store is None:
            return
        if generation > self._last.get(app, 0):
            self._set(app, generation)
            self._reserved.add(app)
        # Another caller's write may hold the number, for an attempt that was cancelled.
        if app in self._unsaved or self._saving.locked():
            await self._save()

    def settle(self, app: str, generation: int) -> None:
        """Record that the app stops, and that its last token had this generation."""
        last = self._last.get(app, 0)
        if generation > last or (app in self._reserved and generation < last):
            self._set(app, generation)
        self._reserved.discard(app)

    async def close(self) -> None:
        """Save what is not saved yet. The caller limits the wait."""
        if self._unsaved:
            await self._save()

    def _set(self, app: str, generation: int) -> None:
        self._last.pop(app, None)  # the latest comes last
        self._last[app] = self._unsaved[app] = generation

    async def _load(self) -> None:
        async with self._saving:
            if self._store is not None and not self._loaded:
                saved, known = await self._store.load(), self._last
                self._last = {**saved, **{app: max(known[app], saved.get(app, 0)) for app in known}}
                self._loaded = True

    async def _save(self) -> None:
        async with self._saving:
            if self._store is None or not self._unsaved:
                return  # another caller has saved it as well
            changes, self._unsaved = self._unsaved, {}
            try:
                await self._store.save(changes, self._last)
            except BaseException:
                self._unsaved = {**changes, **self._unsaved}
                raise
