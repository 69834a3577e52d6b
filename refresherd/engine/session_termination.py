"""Replaced sessions are ended after their grace, so that they do not pile up in DSM."""

from dataclasses import dataclass, replace
from typing import Protocol

from refresherd.domain import timing
from refresherd.domain.errors import DsmError, Retryable, SessionLost
from refresherd.domain.events import Ending, SessionEnded
from refresherd.domain.model import App, Instant, Token
from refresherd.domain.readiness import OutputStatus
from refresherd.domain.session_state import NEVER
from refresherd.engine.app_context import AppContext
from refresherd.engine.context import Context

MOST_PENDING = 64
"""Sessions of one app that wait for their end; one more ends the oldest early."""

TRIES = 3

SHORTEST_LOOK = 1.0
"""Seconds, at least, between two looks whether an output that is behind still holds a token."""


class Holder(Protocol):
    """Who may still hold a replaced token."""

    @property
    def status(self) -> OutputStatus:
        """What it holds."""


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A replaced session, when its end is due, and how often that was tried in vain.

    `held` says that an output held its token at the last look.
    """

    token: Token
    at: Instant
    failures: int = 0
    held: bool = False


class SessionTermination:
    """One app's replaced sessions. It holds no task: its refresher has `work` done when due.

    So what waits for its end costs next to nothing, outlives a crash of the app's tasks,
    and cannot pile up while terminations hang.

    What `holders` hold is spared, and for a grace after: an output on a full disk must not
    leave its consumers with a dead token while the one that they have could live on.
    """

    __slots__ = ("_app", "_app_context", "_context", "_pending", "holders")

    def __init__(self, app: App, app_context: AppContext, context: Context) -> None:
        self._app = app
        self._app_context = app_context
        self._context = context
        self._pending: tuple[_Leaving, ...] = ()
        self.holders: tuple[Holder, ...] = ()

    @property
    def pending(self) -> tuple[Token, ...]:
        """The tokens whose sessions wait for their end, the oldest first."""
        return tuple(leaving.token for leaving in self._pending)

    @property
    def due_at(self) -> Instant:
        """When `work` will have something to do, NEVER if it will not."""
        return min((leaving.at for leaving in self._endable()), default=NEVER)

    def retire(self, replaced: Token) -> None:
        """See to it that the session of a replaced token ends after the app's grace."""
        grace = self._app.timing.terminate_after
        if grace is None:
            return
        now = self._context.clock.now()
        leaving = _Leaving(replaced, timing.terminate_at(replaced, now, grace))
        self._pending = (*self._make_room(now), leaving)

    def follow(self, earlier: "SessionTermination") -> None:
        """Take over what waits for its end under the app's earlier settings, as it is."""
        if self._app.timing.terminate_after is not None:
            self._pending = earlier._pending  # noqa: SLF001  # another of its own class

    async def work(self) -> None:
        """End the sessions that are due, one after the other."""
        while self.due_at <= self._context.clock.now():
            leaving = min(self._endable(), key=lambda leaving: leaving.at)
            now, grace = self._context.clock.now(), self._app.timing.terminate_after
            spared = _spared(leaving, self.holders, now, grace or 0.0)
            if spared is None:
                await self._end(leaving)
            else:
                self._pending = tuple(spared if one is leaving else one for one in self._pending)

    async def _end(self, leaving: _Leaving) -> None:
        error = await end_session(self._app, self._app_context, leaving.token)
        if leaving not in self._pending:
            return  # it was given up meanwhile
        self._pending = tuple(other for other in self._pending if other is not leaving)
        failures = leaving.failures + 1
        if isinstance(error, Retryable) and failures < TRIES:
            pause = timing.backoff(failures, self._app.timing, self._context.rng())
            at = Instant(self._context.clock.now() + pause)
            self._pending = (*self._pending, replace(leaving, at=at, failures=failures))
        else:
            self._context.observer.observe(ended(self._app, error))

    def _endable(self) -> tuple[_Leaving, ...]:
        return tuple(one for one in self._pending if dispensable(one.token, self._app_context))

    def _make_room(self, now: Instant) -> tuple[_Leaving, ...]:
        pending = self._pending
        if len(pending) > MOST_PENDING:  # the end of the oldest hangs
            pending = pending[1:]
            given_up = SessionEnded(self._app.name, Ending.FAILED, "too many wait for their end")
            self._context.observer.observe(given_up)
        if len(pending) == MOST_PENDING:
            oldest, *others = pending
            pending = (replace(oldest, at=min(oldest.at, now)), *others)
        return pending


def _spared(
    leaving: _Leaving, holders: tuple[Holder, ...], now: Instant, grace: float
) -> _Leaving | None:
    """Return when to look again for a session whose token has readers, or had at the last look.

    None if it may be ended.
    """
    token = leaving.token
    holds = (holder.status.holds for holder in holders)
    held = any(one is not None and one.access_token == token.access_token for one in holds)
    if token.expires_at <= now or not (held or leaving.held):
        return None
    at = timing.terminate_at(token, now, max(grace, SHORTEST_LOOK))
    return replace(leaving, at=at, held=held)


def dispensable(token: Token, app_context: AppContext) -> bool:
    """Return whether the session of `token` may be ended.

    That of a chain may once a newer one is kept: until then a crash would leave the app without
    any session to go on from, and no key to log in by.
    """
    store = app_context.session_store
    return store is None or not store.irreplaceable or token.generation < store.saved


async def end_session(app: App, app_context: AppContext, token: Token) -> DsmError | None:
    """End the session of `token` and return None, or return why DSM could not be told."""
    try:
        async with app_context.endings:
            await app_context.client.terminate(token.access_token, app.endpoint.timeout)
    except DsmError as error:
        return error
    return None


def ended(app: App, error: DsmError | None) -> SessionEnded:
    """Return the event for what `end_session` returned."""
    if error is None:
        return SessionEnded(app.name, Ending.TERMINATED)
    if isinstance(error, SessionLost) and error.dead:
        return SessionEnded(app.name, Ending.GONE)
    return SessionEnded(app.name, Ending.FAILED, error.message)
