"""Limits logins with API keys, so that DSM resets no app's secret, even if apps share a key.

Each login is recorded before it is sent; one write serves many, and none is delayed for long.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NoReturn

from refresherd.domain import errors, login_budget
from refresherd.domain.errors import DsmError, Reason, Rejected
from refresherd.domain.events import Warned
from refresherd.domain.formats import timestamp
from refresherd.domain.login_budget import NEVER_YET, History
from refresherd.domain.model import Instant, Secret
from refresherd.domain.session_state import NEVER
from refresherd.engine.ports import Alarm, Clock, LoginStore, Observer, Schedule

PATIENCE = 2.0
"""Seconds for which an app waits to learn from another's login with the same key. The limit keeps a
DSM that hangs for one app, perhaps at another address, from holding up the others."""

SWEEP_INTERVAL = 3600.0
"""Seconds between two searches for keys that can be forgotten."""

WRITE_DELAY = 0.25
"""Seconds within which an answer is written. After a kill before that, it counts as cut off."""

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
        """Arrange for the change just made to be written within WRITE_DELAY."""
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
        except errors.OutputError as error:
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


@dataclass(slots=True, eq=False)
class LoginSlot:
    """The permission for one login."""

    key: "KeyHistory"
    write_ahead: WriteAhead
    clock: Clock
    begun_at: Instant | None = None
    """None as long as nothing can have been sent."""

    async def begin(self) -> None:
        """Record that the login is about to be sent. A disk that fails does not stop it."""
        self.begun_at = self.clock.now()
        self.key.record(self.begun_at)
        await self.write_ahead.written()


@dataclass(slots=True, eq=False)
class KeyHistory:
    """What is known about one key, and its logins that are under way or waiting."""

    name: str
    history: History
    records: dict[str, History]
    """The histories of all keys as they are if this run ends now."""

    under_way: list[LoginSlot] = field(default_factory=list)
    queue: dict[Alarm, None] = field(default_factory=dict)
    refusals: int = 0
    """Refusals by DSM in this run."""

    refusal: str = ""
    """What the last of them said."""

    def record(self, now: Instant) -> None:
        """Update the key's record. A login that has begun is recorded as cut off."""
        self.history = login_budget.recent(self.history, now)
        begun = tuple(slot.begun_at for slot in self.under_way if slot.begun_at is not None)
        if self.history.failed or begun:
            interrupted = (*self.history.interrupted, *begun)
            self.records[self.name] = replace(self.history, interrupted=interrupted)
        else:
            self.records.pop(self.name, None)


class LoginLimiter:
    """Admits the logins of all apps with an API key, by the key's fingerprint.

    A login counts as failed from before it is sent until it is answered. What one app learns
    about its key serves the others that are waiting: they take over a refusal, and continue
    after a success.
    """

    def __init__(
        self, store: LoginStore, clock: Clock, schedule: Schedule, observer: Observer
    ) -> None:
        self._store = store
        self._clock = clock
        self._schedule = schedule
        self._keys: dict[str, KeyHistory] = {}
        self._records: dict[str, History] = {}
        self._sweep_at = NEVER_YET
        self._loading = asyncio.Lock()
        self._loaded = False
        self._lost_until = NEVER_YET
        """Until when an unknown key may have failed in a run whose record is lost."""
        self.write_ahead = WriteAhead(store, self._records, clock, schedule, observer)

    @asynccontextmanager
    async def slot(self, credential: Secret, *, by_operator: bool) -> AsyncIterator[LoginSlot]:
        """Run the block when its login may be sent. How the block ends says how the login ended.

        An operator may have more logins sent than the schedule. Raises LoginSuppressed if none
        may be sent.
        """
        await self._load()
        key = self._key(self._store.fingerprint(credential))
        if not self._has_room(key, by_operator=by_operator, patient=True):
            await self._wait_for_room(key, by_operator=by_operator)
        slot = LoginSlot(key, self.write_ahead, self._clock)
        key.under_way.append(slot)
        try:
            yield slot
        except BaseException as error:
            self._settle(slot, error)
            raise
        self._settle(slot, None)

    def failed_logins(self, credential: Secret) -> int:
        """Return how many logins with a credential have failed within 24 hours."""
        key = self._keys.get(self._store.fingerprint(credential)) if self._loaded else None
        if key is None:
            return 0
        return len(login_budget.recent(key.history, self._clock.now()).failed)

    async def _load(self) -> None:
        async with self._loading:
            if not self._loaded:
                saved = await self._store.load()
                self._loaded = True
                if saved is None:
                    # After that, whatever the lost record contained no longer counts.
                    self._lost_until = Instant(self._clock.now() + login_budget.WINDOW)
                self._records.update(saved or {})
                for name, history in self._records.items():
                    self._keys[name] = KeyHistory(name, history, self._records)

    def _key(self, name: str) -> KeyHistory:
        now = self._clock.now()
        if now >= self._sweep_at:
            self._sweep_at = Instant(now + SWEEP_INTERVAL)
            for key in tuple(self._keys.values()):
                key.record(now)
                self._forget_if_idle(key)
        if name not in self._keys:
            history = login_budget.assumed(now) if now < self._lost_until else History()
            self._keys[name] = KeyHistory(name, history, self._records)
        return self._keys[name]

    def _forget_if_idle(self, key: KeyHistory) -> None:
        if not (key.under_way or key.queue or key.history.failed):
            self._keys.pop(key.name, None)

    async def _wait_for_room(self, key: KeyHistory, *, by_operator: bool) -> None:
        """Wait until a login may begin. Raises LoginSuppressed if DSM refuses the key meanwhile."""
        seen, patient = key.refusals, True
        alarm = self._schedule.alarm()
        key.queue[alarm] = None
        try:
            while not self._has_room(key, by_operator=by_operator, patient=patient):
                until = Instant(self._clock.now() + PATIENCE)
                await alarm.wait(until)
                patient = patient and self._clock.now() < until
                if key.refusals > seen:
                    raise errors.LoginSuppressed(key.refusal)
        finally:
            del key.queue[alarm]

    def _has_room(self, key: KeyHistory, *, by_operator: bool, patient: bool) -> bool:
        """Return whether another login may begin now. Raises LoginSuppressed if none may."""
        history, now = key.history, self._clock.now()
        until = login_budget.allowed_at(history, now, by_operator=by_operator)
        if until > now:
            at = timestamp(self._clock.wall(until))
            raise errors.LoginSuppressed(_reason(login_budget.recent(history, now), at), until)
        return len(key.under_way) < login_budget.slots(history, now, patient=patient)

    def _settle(self, slot: LoginSlot, error: BaseException | None) -> None:
        """Record how a login ended, and wake the logins that may go on."""
        key, now = slot.key, self._clock.now()
        key.under_way.remove(slot)
        woken = login_budget.BURST
        if slot.begun_at is not None:
            key.history = _after(key.history, error, now)
            key.record(now)
            if isinstance(error, DsmError) and _refused(error):
                key.refusals += 1
                key.refusal, woken = error.message, len(key.queue)
            self.write_ahead.soon()
        # Logins for which there is no room go back to waiting, and keep their place.
        for alarm in tuple(islice(key.queue, woken)):
            alarm.ring()
        self._forget_if_idle(key)


def _after(history: History, error: BaseException | None, now: Instant) -> History:
    """Return a key's history after a login ended."""
    if error is None:
        return login_budget.accepted(history, now)
    if not isinstance(error, DsmError):
        return login_budget.interrupted(history, now)
    if error.reason is Reason.MFA_REQUIRED:
        # DSM accepted the key before it asked for a second factor.
        return login_budget.accepted(history, now)
    return login_budget.refused(history, now) if _refused(error) else history


def _refused(error: DsmError) -> bool:
    """Return whether DSM judged the key and refused it.

    A missing answer, or "overloaded", is not a judgement: an outage must not use up a budget.
    """
    return isinstance(error, Rejected) and error.reason is Reason.REJECTED


def _reason(history: History, at: str) -> str:
    """Return why no login is sent before `at`."""
    why, cure = "have failed within 24 hours", "; correct or replace it"
    if not history.refused:
        why, cure = "were cut off by restarts before DSM answered", ""
    # A key, or the password of an LDAP app, or the UUID of a certificate app.
    logins = f"{len(history.failed)} logins with this credential {why}"
    return f"{logins}; the next is allowed at {at}{cure}"
