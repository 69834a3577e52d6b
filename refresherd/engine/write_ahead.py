"""Has logins on record before they are sent, many with one write, and none held up for long."""

import asyncio
from collections.abc import Mapping
from typing import NoReturn

from refresherd.domain.errors import OutputError
from refresherd.domain.events import Warned
from refresherd.domain.login_budget import History
from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER
from refresherd.engine.context import Context
from refresherd.engine.ports import LoginStore

SOON = 0.25
"""Seconds within which an answer is written: a kill before that leaves its login cut off."""

RETRY = 10.0
"""Seconds between two tries of a write while writes fail. Nobody waits for those."""


class WriteAhead:
    """Writes the histories to a store, as they are at the moment of the write."""

    def __init__(
        self, store: LoginStore, histories: Mapping[str, History], context: Context
    ) -> None:
        self._store = store
        self._histories = histories
        self._context = context
        self._alarm = context.schedule.alarm()
        self._turn = asyncio.Lock()
        self._changes = 0
        self._written = 0
        self._failing = False
        self._due_at = NEVER

    async def written(self) -> None:
        """Return once what has changed is written; at once while writes fail.

        Whoever comes while a write is under way shares the next one.
        """
        self._changes += 1
        mine = self._changes
        async with self._turn:
            if self._written < mine and not self._failing:
                await self._write()

    def soon(self) -> None:
        """Have what has changed written before long."""
        self._changes += 1
        if self._due_at == NEVER:
            self._wait(SOON)

    async def run(self) -> NoReturn:
        """Write what is not waited for, until cancelled."""
        while True:
            await self._alarm.wait(self._due_at)
            if self._due_at <= self._context.clock.now():
                async with self._turn:
                    await self._write()

    async def close(self) -> None:
        """Write what is not written yet. The caller bounds the wait."""
        async with self._turn:
            if self._written < self._changes:
                await self._write()

    async def _write(self) -> None:
        changes, self._due_at = self._changes, NEVER
        try:
            await self._store.save(dict(self._histories))
        except OutputError as error:
            self._fail(error)
            return
        self._failing = False
        self._written = changes

    def _fail(self, error: OutputError) -> None:
        self._wait(RETRY)
        if not self._failing:
            message = (
                f"failed logins are not remembered beyond this run until it is mended: {error}"
            )
            self._context.observer.observe(Warned(message))
        self._failing = True

    def _wait(self, seconds: float) -> None:
        self._due_at = Instant(self._context.clock.now() + seconds)
        self._alarm.ring()
