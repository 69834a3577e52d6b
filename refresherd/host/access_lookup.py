"""The uids and gids that `access` names now, without a look-up for each request."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf

from refresherd.domain.access import Permitted
from refresherd.domain.durations import in_seconds
from refresherd.domain.model import Access, Instant
from refresherd.engine.ports import Clock
from refresherd.host.accounts import resolve, without_names
from refresherd.host.keyed_executor import KeyedExecutor

FRESH_SECONDS = 1.0
"""How long the numbers of names are good for: a new user or group works after this time."""

PATIENCE_SECONDS = 5.0
"""A directory service that takes longer hangs."""

MAX_ENTRIES = 10_000

MAX_THREADS = 16
"""Look-ups that have a thread of their own; further ones wait for one another."""

LONG_AGO = Instant(-inf)
ALWAYS = Instant(inf)


@dataclass(slots=True, eq=False)
class _Entry:
    """What is known about one `access` value."""

    numbers: Permitted
    """Those that it gives by number, which takes no look-up."""
    found: Permitted | None = None
    """All that it named when it was last looked up."""
    found_at: Instant = LONG_AGO
    """When that look-up began."""
    flight: "asyncio.Task[Permitted] | None" = None
    """The look-up that is under way."""
    flight_began: Instant = LONG_AGO


class AccessLookup:
    """Looks up each `access` value at most once a second, for all requests that wait for it.

    Belongs to one event loop. NSS may ask a server that hangs, so look-ups run in threads.
    """

    def __init__(
        self,
        executor: KeyedExecutor,
        clock: Clock,
        *,
        patience: float = PATIENCE_SECONDS,
        look_up: Callable[[Access], Permitted] = resolve,
    ) -> None:
        self._executor = executor
        self.clock = clock
        self._patience = patience
        self._look_up = look_up
        self._entries: dict[Access, _Entry] = {}
        self._flights = 0

    def known(self, access: Access) -> Permitted:
        """Return whom `access` names, without those whose names would have to be looked up."""
        entry = self._entry(access)
        return entry.found if entry.found is not None and self._fresh(entry) else entry.numbers

    async def current(self, access: Access) -> tuple[Permitted, str]:
        """Return whom `access` names now, and "".

        If a look-up takes too long or fails, return whom it named before, and the reason.
        """
        entry = self._entry(access)
        if entry.found is not None and self._fresh(entry):
            return entry.found, ""
        flight = entry.flight or self._begin(access, entry)
        left = entry.flight_began + self._patience - self.clock.now()
        if left > 0:
            await asyncio.wait((flight,), timeout=left)
        last = entry.found or entry.numbers
        if not flight.done():
            seconds = in_seconds(self._patience)
            return last, f"looking up the users and groups of its access takes over {seconds}"
        try:
            return flight.result(), ""
        except OSError as error:
            return last, f"looking up the users and groups of its access failed: {error.strerror}"

    def _entry(self, access: Access) -> _Entry:
        entry = self._entries.get(access)
        if entry is None:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries = {key: one for key, one in self._entries.items() if one.flight}
            numbers = without_names(access)
            entry = self._entries[access] = _Entry(resolve(numbers))
            if numbers == access:
                entry.found, entry.found_at = entry.numbers, ALWAYS
        return entry

    def _fresh(self, entry: _Entry) -> bool:
        return self.clock.now() < entry.found_at + FRESH_SECONDS

    def _begin(self, access: Access, entry: _Entry) -> "asyncio.Task[Permitted]":
        # A look-up that hangs holds up no others, unless very many hang.
        key = ("access", access) if self._flights < MAX_THREADS else "access"
        call = self._executor.call(key, partial(self._look_up, access))
        self._flights += 1
        entry.flight, entry.flight_began = asyncio.create_task(call), self.clock.now()
        entry.flight.add_done_callback(partial(self._end, entry))
        return entry.flight

    def _end(self, entry: _Entry, flight: "asyncio.Task[Permitted]") -> None:
        self._flights -= 1
        entry.flight = None
        if not flight.cancelled() and flight.exception() is None:
            entry.found, entry.found_at = flight.result(), entry.flight_began
