"""Keeps one app: its refresher, deliveries and hooks, started over if a bug ends them."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import NoReturn

from refresherd.domain import operator_transitions, timing
from refresherd.domain.events import AppCrashed
from refresherd.domain.model import App, Instant, Timing, Token
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import ALWAYS, State, begin
from refresherd.engine.app_context import AppContext
from refresherd.engine.context import Context
from refresherd.engine.delivery import Delivery
from refresherd.engine.notification import Notification
from refresherd.engine.ports import TokenView
from refresherd.engine.refresher import PeriodicTask, Refresher
from refresherd.engine.renewal import Renewal
from refresherd.engine.session_termination import dispensable, end_session, ended
from refresherd.engine.state_cell import StateCell

RESTARTS = Timing(retry_min=1.0, retry_max=60.0)

FORGIVEN_AFTER = 300.0
"""Seconds without a crash after which the next one counts as the first."""


class AppRunner:
    """All that runs for one app. What it knows of the session outlives a crash."""

    __slots__ = (
        "_app_context",
        "_cell",
        "_context",
        "_deliveries",
        "_notification",
        "_refresher",
        "_renewal",
        "_reported",
        "_resumes_at",
        "app",
    )

    def __init__(
        self,
        app: App,
        app_context: AppContext,
        context: Context,
        cell: StateCell | None = None,
        kept: Mapping[str, Delivery] = MappingProxyType({}),
    ) -> None:
        """Keep an app from its login on, or from the life in `cell`; `kept` outputs go on."""
        self.app = app
        self._app_context = app_context
        self._context = context
        self._cell = cell or StateCell(begin(context.clock.now()))
        self._renewal = Renewal(app, self._cell, app_context, context)
        served = tuple(
            kept.get(output.name) or Delivery(app.name, output, self._cell, context)
            for output in app_context.outputs
        )
        self._renewal.termination.holders = served
        store = app_context.session_store
        stored = () if store is None else (Delivery(app.name, store, self._cell, context),)
        # The store comes first: a kill loses no token that a consumer has seen.
        self._deliveries = (*stored, *served)
        self._reported = (*served, *stored) if store is not None and store.irreplaceable else served
        self._notification = Notification(app.name, app_context.hooks, served, self._cell, context)
        self._refresher = Refresher(app, self._cell, self._renewal, self._periodic_tasks(), context)
        self._resumes_at = ALWAYS

    @property
    def view(self) -> TokenView:
        """The app's life, for readers."""
        return self._cell

    def status(self) -> AppStatus:
        """Return what readers are told of the app."""
        outputs = tuple(delivery.status for delivery in self._reported)
        return AppStatus(self.app.name, self._cell.session, outputs)

    def refresh(self) -> None:
        """Make an attempt now; one that is under way serves."""
        self._refresher.refresh()

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds what is due has not been begun, a crash's pause aside."""
        return max(0.0, min(self._refresher.overdue(now), now - self._resumes_at))

    async def run(self) -> NoReturn:
        """Keep the app until cancelled; a bug in it stays its own."""
        crashes = 0
        while True:
            began = self._context.clock.now()
            try:
                await self._refresher.run()
            except Exception as error:  # noqa: BLE001  # the guard between the failure domains
                lasted = self._context.clock.now() - began
                crashes = 1 if lasted > FORGIVEN_AFTER else crashes + 1
                pause = timing.backoff(crashes, RESTARTS, self._context.rng())
                self._context.observer.observe(AppCrashed(self.app.name, error, pause))
                _heed_cancellation()
            self._resumes_at = Instant(self._context.clock.now() + pause)
            await self._context.schedule.alarm().wait(self._resumes_at)

    def reloaded(self) -> None:
        """Look for a credential that was replaced in its place; try a refused one again now."""
        self._renewal.credential_watch.ask()
        self._refresher.attend()
        if self._cell.session.state is State.REJECTED:
            self._refresher.refresh()

    def close(self) -> None:
        """Let go of everyone who waits for the app, and serve its token no more."""
        self._cell.close()
        for delivery in self._deliveries:
            delivery.close()

    def retuned(self, app: App, app_context: AppContext) -> "AppRunner":
        """Return who keeps the app on under other settings, with the same session.

        What is configured as before is left as it is: nothing is written or bound again.
        Only to be called once `run` was cancelled and awaited.
        """
        same = _unchanged_outputs(self.app, app)
        kept = {d.status.name: d for d in self._deliveries if d.status.name in same}
        for delivery in self._deliveries:
            if delivery.status.name not in kept:
                delivery.close()
        self._retune(app.timing)
        later = AppRunner(app, app_context, self._context, self._cell, kept)
        later._renewal.follow(self._renewal)  # another of its own class
        later._notification.follow(self._notification)  # as above
        return later

    async def clear(self) -> None:
        """Take the app's token from its outputs, if it is dead or to end.

        Only to be called once `run` was cancelled and awaited.
        """
        session = self._cell.session
        ends = session.token is not None and dispensable(session.token, self._app_context)
        if ends or session.dead:
            await _together(delivery.clear() for delivery in self._deliveries)

    async def disown(self) -> None:
        """Leave the daemon's next run no session of an app that is not configured so any more.

        Only to be called once `run` was cancelled and awaited.
        """
        store = self._app_context.session_store
        if store is not None and not store.irreplaceable:
            await store.remove()

    async def end(self) -> None:
        """End the app's sessions for good; its outputs are to be cleared first.

        The last of a chain stays, for without it there is no way back.
        """
        newest = self._cell.session.token
        replaced = self._renewal.termination.pending
        tokens = replaced if newest is None else (*replaced, newest)
        ending = (token for token in tokens if dispensable(token, self._app_context))
        await _together(self._end(token) for token in ending)

    def _retune(self, timing: Timing) -> None:
        session = self._cell.session
        # What was changed may be a proxy that was in the way, so trouble's wait ends by any change.
        if timing != self.app.timing or session.state is not State.FRESH:
            now, rand = self._context.clock.now(), self._context.rng()
            self._cell.publish(operator_transitions.retuned(session, now, timing, rand))

    def _periodic_tasks(self) -> tuple[PeriodicTask, ...]:
        periodic_tasks: tuple[PeriodicTask, ...] = (
            self._renewal.credential_watch,
            self._renewal.termination,
            *self._deliveries,
        )
        # Without hooks it would be a task for each token that has nothing to do.
        return (*periodic_tasks, self._notification) if self._app_context.hooks else periodic_tasks

    async def _end(self, token: Token) -> None:
        error = await end_session(self.app, self._app_context, token)
        self._context.observer.observe(ended(self.app, error))


def _heed_cancellation() -> None:
    """Raise CancelledError if the task was cancelled while a TaskGroup in it was failing.

    The errors have priority then, and up to Python 3.12 the cancellation is never seen again.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _unchanged_outputs(old: App, new: App) -> frozenset[str]:
    """Return the paths of the outputs that are the same under both settings."""
    files = {str(spec.path) for spec in new.files if spec in old.files}
    if old.access != new.access:
        return frozenset(files)
    return frozenset(files | {str(spec.path) for spec in new.sockets if spec in old.sockets})


async def _together(works: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(work)
