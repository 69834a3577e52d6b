"""Runs one app: its refresher, deliveries and hooks, restarted if a bug ends them."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn

from refresherd.domain import operator_transitions, timing
from refresherd.domain.events import AppCrashed
from refresherd.domain.model import App, Instant, Timing
from refresherd.domain.readiness import AppStatus
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import ALWAYS, State, begin
from refresherd.engine.context import AppContext, Context, RunningApp, StateCell
from refresherd.engine.delivery import Delivery, HookRunner, WatchedDelivery
from refresherd.engine.ports import Alteration
from refresherd.engine.refresher import PeriodicTask, Refresher
from refresherd.engine.renewal import Renewal

RESTARTS = Timing(retry_min=1.0, retry_max=60.0)

FORGIVEN_AFTER = 300.0
"""Seconds without a crash after which the next one counts as the first."""


class AppRunner:
    """Everything that runs for one app. What is known about its session survives a crash.

    `clear`, `discard`, `forget_session`, `end_sessions` and `retuned` may be called only once `run`
    was cancelled and awaited.
    """

    __slots__ = (
        "_deliveries",
        "_hook_runner",
        "_refresher",
        "_renewal",
        "_reported",
        "_resumes_at",
        "_running",
        "app",
        "cell",
        "outputs",
    )

    def __init__(
        self,
        app: App,
        app_context: AppContext,
        context: Context,
        cell: StateCell | None = None,
        unchanged: Mapping[str, WatchedDelivery] = MappingProxyType({}),
    ) -> None:
        """Run an app from its login on, or from the session in `cell`.

        `unchanged` are deliveries of the earlier settings that continue, by output name.
        """
        self.app = app
        """The app as it is configured."""
        self.cell = cell or StateCell(begin(context.clock.now()))
        """The app's session state."""
        self._running = RunningApp(app, app_context, self.cell, context)
        outputs = tuple(
            unchanged.get(output.name) or WatchedDelivery(self._running, output)
            for output in app_context.outputs
        )
        self.outputs = outputs
        """The deliveries to the app's files and sockets."""
        self._deliveries: tuple[Delivery, ...] = outputs
        self._reported: tuple[Delivery, ...] = outputs
        if (store := app_context.session_store) is not None:
            stored = Delivery(self._running, store)
            # The store comes first: a kill loses no token that a consumer has seen.
            self._deliveries = (stored, *outputs)
            if store.irreplaceable:
                self._reported = (*outputs, stored)
        self._renewal = Renewal(self._running)
        self._renewal.termination.outputs = lambda: (delivery.status for delivery in outputs)
        self._hook_runner = HookRunner(self._running, outputs)
        periodic_tasks: tuple[PeriodicTask, ...] = (
            self._renewal.credential,
            self._renewal.termination,
            *self._deliveries,
        )
        if app_context.hooks:  # without hooks, its task would do nothing for each token
            periodic_tasks = (*periodic_tasks, self._hook_runner)
        self._refresher = Refresher(self._running, self._renewal, periodic_tasks)
        self._resumes_at = ALWAYS

    def status(self) -> AppStatus:
        """Return the app's status, as readers outside the engine see it."""
        outputs = tuple(delivery.status for delivery in self._reported)
        return AppStatus(self.app.name, self.cell.session, outputs, self.cell.token_since)

    def report(self) -> AppReport:
        """Return all that operators may see of the app."""
        return AppReport(
            self.app,
            self.status(),
            hooks=self._hook_runner.statuses(),
            consumers=self._running.context.consumers.of(self.app.name),
            failed_logins=self._renewal.failed_logins(),
        )

    def refresh(self) -> None:
        """Make an attempt now, unless one is under way."""
        self._refresher.refresh()

    def hasten(self) -> None:
        """Make an attempt now for a client that may only read the token."""
        self._refresher.hasten()

    def overdue(self, now: Instant) -> float:
        """Return for how many seconds the app has been due and not started.

        The pause after a crash does not count.
        """
        return max(0.0, min(self._refresher.overdue(now), now - self._resumes_at))

    async def run(self) -> NoReturn:
        """Run the app until cancelled. A bug in it restarts it after a pause."""
        crashes = 0
        while True:
            began = self._running.now()
            try:
                await self._refresher.run()
            except Exception as error:  # noqa: BLE001  # the guard between the failure domains
                lasted = self._running.now() - began
                crashes = 1 if lasted > FORGIVEN_AFTER else crashes + 1
                pause = timing.backoff(crashes, RESTARTS, self._running.rand())
                self._running.observe(AppCrashed(self.app.name, error, pause))
                # Errors of a TaskGroup have priority: up to Python 3.12 the cancellation is lost.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError from None
            self._resumes_at = Instant(self._running.now() + pause)
            await self._running.context.schedule.alarm().wait(self._resumes_at)

    def reloaded(self) -> None:
        """Look for a credential that was replaced in its place; retry a refused one now."""
        self._renewal.credential.look_now()
        self._refresher.wake()
        if self.cell.session.state is State.REJECTED:
            self._refresher.refresh()

    def altered(self, delivery: WatchedDelivery, alteration: Alteration) -> None:
        """Restore one of the app's outputs that somebody else altered."""
        if delivery.altered(alteration):
            self._refresher.wake()

    def close(self) -> None:
        """Wake everyone who waits for the app, and stop serving its token."""
        self._stop()
        for delivery in self._deliveries:
            delivery.close()

    def leave(self) -> None:
        """Wake everyone who waits for the app, and leave its outputs to the next run."""
        self._stop()
        for delivery in self.outputs:
            delivery.output.leave()

    def retuned(self, app: App, app_context: AppContext) -> "AppRunner":
        """Return a runner for the app under other settings, with the same session.

        Outputs whose settings are unchanged are left alone: nothing is written or bound again.
        """
        paths = {str(spec.path) for spec in app.files if spec in self.app.files}
        if app.access == self.app.access:
            paths |= {str(spec.path) for spec in app.sockets if spec in self.app.sockets}
        unchanged = {d.status.name: d for d in self.outputs if d.status.name in paths}
        for delivery in self.outputs:
            if delivery.status.name not in unchanged:
                delivery.close()
        session = self.cell.session
        # The change may have removed the cause of the trouble, a proxy for example.
        if app.timing != self.app.timing or session.state is not State.FRESH:
            now, rand = self._running.now(), self._running.rand()
            self._running.publish(
                operator_transitions.settings_changed(session, now, app.timing, rand)
            )
        later = AppRunner(app, app_context, self._running.context, self.cell, unchanged)
        later._renewal.follow(self._renewal)  # of the same class
        later._hook_runner.follow(self._hook_runner)  # as above
        return later

    async def clear(self) -> None:
        """Remove the app's token from its outputs, if it is dead or `end_sessions` will end it."""
        session = self.cell.session
        ends = session.token is not None and self._renewal.termination.may_end(session.token)
        if ends or session.dead:
            async with asyncio.TaskGroup() as tasks:
                for delivery in self._deliveries:
                    tasks.create_task(delivery.clear())

    async def discard(self, successor: App | None = None) -> None:
        """Remove the outputs that the app's successor, if there is one, does not name."""
        named: set[str] = set()
        if successor is not None:
            named = {str(file.path) for file in successor.files}
            named |= {str(socket.path) for socket in successor.sockets}
        async with asyncio.TaskGroup() as tasks:
            for delivery in self.outputs:
                if delivery.status.name not in named:
                    tasks.create_task(delivery.discard())

    async def forget_session(self) -> None:
        """Remove the stored session, which the app's configuration no longer covers.

        An irreplaceable one stays, in case the app is configured again.
        """
        store = self._running.ports.session_store
        if store is not None and not store.irreplaceable:
            await store.remove()

    async def end_sessions(self) -> None:
        """End the app's sessions, except an irreplaceable one. Call `clear` first."""
        await self._renewal.termination.end_all(self.cell.session.token)

    def _stop(self) -> None:
        """Wake everyone who waits for the app, and record the generation of its last token."""
        self.cell.close()
        self._running.context.generations.settle(self.app.name, self.cell.session.generation)
