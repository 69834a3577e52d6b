"""Records logins before they are sent: many with one write, and none held up for long."""

import asyncio
from collections.abc import Mapping
from typing import NoReturn

from refresherd.domain.errors import OutputError
from refresherd.domain.events import Warned
from refresherd.domain.login_budget import History
from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER
from refresherd.engine.ports import Clock, LoginStore, Observer, Schedule

WRITE_DELAY = 0.25
"""Seconds within which an answer is written. A kill before that leaves its login cut off."""

RETRY_DELAY = 10.0
"""Seconds between two tries while writes fail. No login waits for those."""


class WriteAhead:
    """Writes the histories to a store, as they are at the moment of the write."""

    def __init__(
        self,
        store: LoginStore,
        histories: Mapping[str, History],
        clock: Clock,
        schedule: Schedule,
        observer: Observer,
    ) -> None:
        self._store = store
        self._histories = histories
        self._clock = clock
        self._observer = observer
        self._alarm = schedule.alarm()
        self._writing = asyncio.Lock()
        self._changes = 0
        self._written = 0
        self._failing = False
        self._due_at = NEVER

    async def written(self) -> None:
        """Return once the change just made is written; at once while writes fail.

        Callers that come while a write is under way share the next one.
        """
        self._changes += 1
        change = self._changes
        async with self._writing:
            if self._written < change and not self._failing:
                await self._write()

    def soon(self) -> None:
        """Have the change just made written within WRITE_DELAY."""
        self._changes += 1
        if self._due_at == NEVER:
            self._schedule(WRITE_DELAY)

    async def run(self) -> NoReturn:
        """Write what no caller waits for, until cancelled."""
        while True:
            await self._alarm.wait(self._due_at)
            if self._due_at <= self._clock.now():
                async with self._writing:
                    await self._write()

    async def close(self) -> None:
        """Write what is not written yet. The caller limits the wait."""
        async with self._writing:
            if self._written < self._changes:
                await self._write()

    async def _write(self) -> None:
        changes, self._due_at = self._changes, NEVER
        try:
            await self._store.save(dict(self._histories))
        except OutputError as error:
            self._schedule(RETRY_DELAY)
            if not self._failing:
                self._failing = True
                limit = "they are counted in memory only until this is fixed"
                self._observer.observe(Warned(f"cannot save failed logins; {limit}: {error}"))
        else:
            self._failing = False
            self._written = changes

    def _schedule(self, seconds: float) -> None:
        self._due_at = Instant(self._clock.now() + seconds)
        self._alarm.ring()
