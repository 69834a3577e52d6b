"""Lets apps log in by key only as often as no key is burnt by, whichever of them share it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from refresherd.domain import login_budget
from refresherd.domain.errors import LoginSuppressed
from refresherd.domain.formats import timestamp
from refresherd.domain.login_budget import NEVER_YET, History
from refresherd.domain.model import Instant, Secret
from refresherd.engine.context import Context
from refresherd.engine.key_history import KeyHistory, LoginSlot
from refresherd.engine.ports import LoginStore
from refresherd.engine.write_ahead import WriteAhead

PATIENCE = 2.0
"""Seconds for which an app waits to learn from another's login. A DSM that hangs for one app,
perhaps at another address, so holds up no other."""

SWEEP_EVERY = 3600.0
"""Seconds after which credentials are forgotten that nobody uses any more."""


class LoginLimiter:
    """The Logins of all apps. One counts as failed from before it is sent until it is answered.

    What an app learns of its credential serves the others that have come meanwhile: they take
    over a refusal, and go on after a success.
    """

    def __init__(self, store: LoginStore, context: Context) -> None:
        self._store = store
        self._context = context
        self._accounts: dict[str, KeyHistory] = {}
        self._records: dict[str, History] = {}
        self._sweep_at = NEVER_YET
        self._loading = asyncio.Lock()
        self._loaded = False
        self._lost_until = NEVER_YET
        self.write_ahead = WriteAhead(store, self._records, context)

    @asynccontextmanager
    async def turn(self, credential: Secret, *, by_operator: bool) -> AsyncIterator[LoginSlot]:
        """Let the block log in when it is its turn; what it raises is what came of the login.

        `asked` tells that an operator wants it. Raises Withheld where none may be sent.
        """
        await self._load()
        account = self._account(self._store.fingerprint(credential))
        turn = await self._admitted(account, by_operator=by_operator)
        try:
            yield turn
        except BaseException as error:
            self._settle(account, turn, error)
            raise
        self._settle(account, turn, None)

    async def _load(self) -> None:
        async with self._loading:
            if not self._loaded:
                kept = await self._store.load()
                self._loaded = True
                if kept is None:
                    # By then nothing counts any more that stood in it.
                    self._lost_until = Instant(self._context.clock.now() + login_budget.WINDOW)
                self._records.update(kept or {})
                for name, history in self._records.items():
                    self._accounts[name] = KeyHistory(name, history, self._records)

    def _account(self, name: str) -> KeyHistory:
        now = self._context.clock.now()
        if now >= self._sweep_at:
            self._sweep(now)
        account = self._accounts.get(name)
        if account is None:
            history = login_budget.unknown(now) if now < self._lost_until else History()
            account = self._accounts[name] = KeyHistory(name, history, self._records)
        return account

    def _sweep(self, now: Instant) -> None:
        self._sweep_at = Instant(now + SWEEP_EVERY)
        for account in tuple(self._accounts.values()):
            account.record(now)
            if account.idle():
                del self._accounts[account.name]

    async def _admitted(self, account: KeyHistory, *, by_operator: bool) -> LoginSlot:
        """Return the turn once it has come. Raises Withheld where it does not."""
        if not self._has_room(account, by_operator=by_operator, patient=True):
            await self._waited(account, by_operator=by_operator)
        turn = LoginSlot(account, self.write_ahead, self._context.clock)
        account.under_way.append(turn)
        return turn

    async def _waited(self, account: KeyHistory, *, by_operator: bool) -> None:
        """Return when there is room. Raises Withheld where DSM refuses the credential meanwhile."""
        seen, patient = account.refusals, True
        alarm = self._context.schedule.alarm()
        account.line[alarm] = None
        try:
            while not self._has_room(account, by_operator=by_operator, patient=patient):
                until = Instant(self._context.clock.now() + PATIENCE)
                await alarm.wait(until)
                patient = patient and self._context.clock.now() < until
                if account.refusals > seen:
                    raise LoginSuppressed(account.refusal)
        finally:
            del account.line[alarm]

    def _has_room(self, account: KeyHistory, *, by_operator: bool, patient: bool) -> bool:
        """Return whether another login may begin now. Raises Withheld where none may for long."""
        history, now = account.history, self._context.clock.now()
        until = login_budget.allowed_at(history, now, by_operator=by_operator)
        if until > now:
            at = timestamp(self._context.clock.wall(until))
            raise LoginSuppressed(_told(login_budget.recent(history, now), at), until)
        return len(account.under_way) < login_budget.places(history, now, patient=patient)

    def _settle(self, account: KeyHistory, turn: LoginSlot, error: BaseException | None) -> None:
        account.settle(turn, error, self._context.clock.now())
        if turn.begun_at is not None:
            self.write_ahead.soon()
        if account.idle():
            self._accounts.pop(account.name, None)


def _told(history: History, at: str) -> str:
    """Return why no login is sent before `at`."""
    failed = len(history.failed)
    if not history.refused:
        message = f"{failed} logins with this key were cut off by restarts before DSM answered"
        return f"{message}; the next is allowed at {at}"
    message = f"{failed} logins with this key have failed within 24 hours"
    return f"{message}; the next is allowed at {at}; mend or replace the key"
