"""Ends replaced sessions after their grace period, so that they do not pile up in DSM."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import inf

from refresherd.domain import timing
from refresherd.domain.errors import DsmError, Retryable, SessionLost
from refresherd.domain.events import SessionEnded
from refresherd.domain.labels import Ending
from refresherd.domain.model import Instant, Token
from refresherd.domain.readiness import OutputStatus
from refresherd.domain.session_state import NEVER
from refresherd.engine.context import RunningApp

MAX_PENDING = 64
"""How many sessions of one app may wait to be ended. One more ends the oldest early."""

MAX_TRIES = 3

LAST_TIMEOUT = 1.5
"""Seconds for each of two tries to end a session for good; a stop waits two seconds for both."""

MIN_POSTPONEMENT = 1.0
"""The least number of seconds between two checks whether an output still holds a replaced token."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A replaced session that is to be ended."""

    token: Token
    at: Instant
    failures: int = 0
    held: bool = False
    """Whether an output held its token at the last check."""


class SessionTermination:
    """One app's replaced sessions. It holds no task: the app's refresher calls `work` when due.

    So a waiting session costs next to nothing, outlives a crash of the app's tasks, and cannot
    pile up while terminations hang.

    A session whose token is still in an output lives on, and for a grace period after that: on
    a full disk consumers must not be left with a dead token while a live one could stay.
    """

    __slots__ = ("_app", "_pending", "outputs")

    def __init__(self, app: RunningApp) -> None:
        self._app = app
        self._pending: tuple[_Pending, ...] = ()
        self.outputs: Callable[[], Iterable[OutputStatus]] = tuple
        """Returns what the app's outputs hold now."""

    @property
    def pending(self) -> tuple[Token, ...]:
        """The tokens whose sessions wait to be ended, the oldest first."""
        return tuple(session.token for session in self._pending)

    @property
    def due_at(self) -> Instant:
        """When `work` will have something to do, NEVER if it will not."""
        return NEVER if (session := self._next()) is None else session.at

    def retire(self, replaced: Token) -> None:
        """Schedule the end of a replaced token's session, after the app's grace period."""
        grace, now = self._app.settings.timing.terminate_after, self._app.now()
        if grace is None or replaced.expires_at <= now:
            return
        pending = self._pending
        if len(pending) > MAX_PENDING:  # the termination of the oldest hangs
            pending = pending[1:]
            message = "too many sessions wait to be ended"
            given_up = SessionEnded(self._app.name, Ending.FAILED, message)
            self._app.observe(given_up)
        if len(pending) == MAX_PENDING:
            oldest, *others = pending
            pending = (replace(oldest, at=min(oldest.at, now)), *others)
        self._pending = (*pending, _Pending(replaced, timing.terminate_at(replaced, now, grace)))

    def follow(self, earlier: "SessionTermination") -> None:
        """Take over, unchanged, the sessions that wait to be ended under earlier settings."""
        if self._app.settings.timing.terminate_after is not None:
            self._pending = earlier._pending  # noqa: SLF001  # of the same class

    async def work(self) -> None:
        """End the sessions that are due, one after the other."""
        while (session := self._next()) is not None and session.at <= self._app.now():
            if session.token.expires_at > self._app.now() and (later := self._postponed(session)):
                self._pending = tuple(
                    later if other is session else other for other in self._pending
                )
            else:
                await self._end(session)

    def may_end(self, token: Token) -> bool:
        """Return whether the session of `token` may be ended.

        An irreplaceable session may once a newer one is saved: before that, a crash would leave
        the app without any session to go on from.
        """
        store = self._app.ports.session_store
        return store is None or not store.irreplaceable or token.generation < store.saved

    async def end_all(self, newest: Token | None) -> None:
        """End all sessions at once and for good, except an irreplaceable one.

        One that DSM did not end is tried once more, in time to be of use at a stop: there is no
        later, and DSM may answer at another address.
        """

        async def end(token: Token) -> None:
            outcome = await self._terminate(token, LAST_TIMEOUT)
            if isinstance(outcome, Retryable):
                outcome = await self._terminate(token, LAST_TIMEOUT)
            if outcome is not None:
                self._report(outcome)

        tokens = self.pending if newest is None else (*self.pending, newest)
        async with asyncio.TaskGroup() as tasks:
            for token in tokens:
                if self.may_end(token):
                    tasks.create_task(end(token))

    def _next(self) -> _Pending | None:
        """Return the session that is to be ended first, None if there is none."""
        endable = (session for session in self._pending if self.may_end(session.token))
        return min(endable, key=lambda session: session.at, default=None)

    def _postponed(self, session: _Pending) -> _Pending | None:
        """Return it with a later end if its token is in an output, or was at the last check."""
        now, token = self._app.now(), session.token
        tokens = (status.holds for status in self.outputs())
        held = any(one is not None and one.access_token == token.access_token for one in tokens)
        if not (held or session.held):
            return None
        grace = self._app.settings.timing.terminate_after or 0.0
        at = timing.terminate_at(token, now, max(grace, MIN_POSTPONEMENT))
        if at <= now:  # it is about to expire
            return replace(session, at=token.expires_at, held=True) if held else None
        return replace(session, at=at, held=held)

    async def _end(self, session: _Pending) -> None:
        outcome = await self._terminate(session.token)
        if session not in self._pending:
            return  # it was given up meanwhile
        self._pending = tuple(other for other in self._pending if other is not session)
        failures = session.failures + 1
        pause = timing.backoff(failures, self._app.settings.timing, self._app.rand())
        at = Instant(self._app.now() + pause)
        again = failures < MAX_TRIES and at < session.token.expires_at
        if isinstance(outcome, Retryable) and again:
            self._pending = (*self._pending, replace(session, at=at, failures=failures))
        elif outcome is not None:
            self._report(outcome)

    async def _terminate(self, token: Token, longest: float = inf) -> Ending | DsmError | None:
        """End the session of `token`, and return TERMINATED, or the error if that fails.

        Return None if it has expired, also while it waited for its turn: nothing is sent then.
        """
        timeout = min(self._app.settings.endpoint.timeout, longest)
        try:
            async with self._app.ports.endings:
                if token.expires_at <= self._app.now():
                    return None
                await self._app.ports.client.terminate(token.access_token, timeout)
        except DsmError as error:
            return error
        return Ending.TERMINATED

    def _report(self, outcome: Ending | DsmError) -> None:
        """Report a termination's outcome, as `_terminate` returned it."""
        if isinstance(outcome, Ending):
            ended = SessionEnded(self._app.name, outcome)
        elif isinstance(outcome, SessionLost) and outcome.dead:
            ended = SessionEnded(self._app.name, Ending.GONE)
        else:
            ended = SessionEnded(self._app.name, Ending.FAILED, outcome.message)
        self._app.observe(ended)
