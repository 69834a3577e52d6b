"""Brings each new token to an app's outputs, and then runs the app's hooks."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from types import MappingProxyType

from refresherd.domain import events, timing
from refresherd.domain.errors import HookError, OutputError
from refresherd.domain.labels import HookResult
from refresherd.domain.model import Instant, Timing, Token
from refresherd.domain.readiness import OutputStatus
from refresherd.domain.report import HookStatus
from refresherd.domain.session_state import ALWAYS, NEVER, valid_token
from refresherd.engine.context import RunningApp
from refresherd.engine.ports import Alteration, Hook, Output, WatchedOutput

RETRIES = Timing(retry_min=0.5, retry_max=10.0)
"""When a full disk has space again, that should be noticed within seconds."""

CONTESTED = Timing(retry_min=2.0, retry_max=60.0)
"""The pauses for an output that is altered again and again, such as one that two daemons write.
Neither of them gives up: only an operator can say which of them should."""

RESTORED_SOON = 5
"""How many alterations in a row are restored after the shortest pause: an operator may try things.
Only the first one is restored at once, so that readiness shows a fight for the path."""

FORGIVEN_AFTER = 300.0
"""Seconds without an alteration after which the next one counts as the first."""


class Delivery:
    """One output of one app. Each runs as a separate task, so a slow output delays no other.

    Each try reads the newest session state, so that an output that hung gets the newest token,
    and never one that has expired meanwhile.
    """

    __slots__ = (
        "_app",
        "_failures",
        "_output",
        "_prepared",
        "_removed",
        "_retry_at",
        "_version",
        "status",
    )

    def __init__(self, app: RunningApp, output: Output) -> None:
        self._app = app
        self._output = output
        self._prepared = False
        self._removed = False
        self._version = 0
        """The version of the session state that was delivered last."""
        self._failures = 0
        self._retry_at = ALWAYS
        self.status = OutputStatus(output.name)
        """What the output holds, and if that is out of date, why."""

    @property
    def due_at(self) -> Instant:
        """When to try to bring the output up to date, NEVER while it is."""
        return NEVER if self._version == self._app.cell.version else self._retry_at

    async def work(self) -> None:
        """Bring the output up to date with the session state; if that fails, it is due again."""
        version = self._app.cell.version
        try:
            if not self._prepared:
                await self._output.prepare()
                self._prepared = True
            session = self._app.session
            token = valid_token(session, self._app.now())
            if token is not None:
                await self._put(token)
            elif session.dead or (session.expired and self._output.removes_expired):
                await self._remove()
        except OutputError as error:
            self._failures += 1
            now, rand, held = self._app.now(), self._app.rand(), self.status.holds
            left = inf if held is None or held.expires_at <= now else held.expires_at - now
            pause = timing.backoff(self._failures, RETRIES, rand, left)
            self._retry_at = Instant(now + pause)
            self._failed(error, pause)
        else:
            self._version = version
            self._failures = 0

    async def clear(self) -> None:
        """Remove the token for good. Call it only after `work` was cancelled and awaited."""
        try:
            await self._remove()
        except OutputError as error:
            self._failed(error, retry_in=0.0)

    def close(self) -> None:
        """Stop serving the token."""
        self._output.close()

    async def _put(self, token: Token) -> None:
        if token == self.status.holds:
            return
        self._removed = False  # a write that fails or is cancelled may still take effect
        report = await self._output.put(token)
        app, name, now = self._app.name, self._output.name, self._app.now()
        self.status = OutputStatus(name, holds=token, written_at=now)
        if report is not None and report.altered:
            # This write has restored it before the watch looked.
            self._app.observe(events.OutputAltered(app, name, report.altered, retry_in=0.0))
        if report is not None and report.unchanged:
            self._app.observe(events.OutputUnchanged(app, name, token.generation))
        else:
            self._app.observe(events.OutputWritten(app, name, token.generation))

    async def _remove(self) -> None:
        if self._removed:
            return
        await self._output.remove()
        self._removed = True
        self.status = OutputStatus(self._output.name)
        self._app.observe(events.OutputRemoved(self._app.name, self._output.name))

    def _failed(self, error: OutputError, retry_in: float) -> None:
        name, message = self._output.name, str(error)
        self.status = replace(self.status, error=message)
        self._app.observe(events.OutputFailed(self._app.name, name, message, retry_in))


class WatchedDelivery(Delivery):
    """A delivery to an output that others can reach. It restores what they alter."""

    __slots__ = ("_altered_at", "_in_a_row", "output")

    def __init__(self, app: RunningApp, output: WatchedOutput) -> None:
        super().__init__(app, output)
        self.output = output
        """The output, for the watch."""
        self._altered_at = ALWAYS
        self._in_a_row = 0
        """How many alterations came without FORGIVEN_AFTER between them."""

    def altered(self, alteration: Alteration) -> bool:
        """Make an altered output due for `work`; return False if there is nothing to restore."""
        message = self.output.confirm(alteration)
        if not message:
            return False
        now, token = self._app.now(), self._app.session.token
        recent = now - self._altered_at < FORGIVEN_AFTER
        self._altered_at, self._in_a_row = now, self._in_a_row + 1 if recent else 1
        pause = 0.0
        if self._in_a_row > 1:
            left = inf if token is None or token.expires_at <= now else token.expires_at - now
            longer = max(0, self._in_a_row - RESTORED_SOON)
            pause = timing.backoff(1 + longer, CONTESTED, self._app.rand(), left)
        self._retry_at = Instant(max(self._retry_at, now + pause))
        # A socket without a token has to be bound again, but a file's trial was passed.
        self._prepared = self._prepared and self.status.holds is not None
        self._removed = False
        self._version = 0
        self.status = OutputStatus(self.output.name, error=message)
        altered = events.OutputAltered(self._app.name, self.output.name, message, pause)
        self._app.observe(altered)
        return True

    async def discard(self) -> None:
        """Remove an output that is not configured any more. Call it only after `work` has ended."""
        try:
            kept = await self.output.discard()
        except OutputError as error:
            kept = str(error)
        if kept:
            self._failed(OutputError(kept), retry_in=0.0)


class HookRunner:
    """Runs one app's hooks, in their order, once a token has reached all of the app's outputs.

    A hook runs once for a token; if it fails, that is logged and counted, and it runs next for
    the next token. If hooks take longer than a token lasts, they run for the newest only. The
    same token with a longer life is not a new token: its consumers already have it.
    """

    __slots__ = ("_app", "_deliveries", "_generation", "_ran", "_to_run")

    def __init__(self, app: RunningApp, deliveries: tuple[Delivery, ...]) -> None:
        self._app = app
        self._deliveries = deliveries
        self._generation = app.session.generation
        """The generation for which hooks ran last. A token older than the hooks needs no run."""
        self._to_run: tuple[Hook, ...] = ()
        self._ran: Mapping[str, HookStatus] = MappingProxyType({})
        """The last run of each hook, by name. It is replaced, not changed: threads read it."""

    def statuses(self) -> tuple[HookStatus, ...]:
        """Return the last run of each hook."""
        ran = self._ran
        return tuple(ran.get(hook.name) or HookStatus(hook.name) for hook in self._app.ports.hooks)

    @property
    def due_at(self) -> Instant:
        """ALWAYS while a hook is to be run, NEVER once all have run for the newest token."""
        return ALWAYS if self._to_run or self._delivered() > self._generation else NEVER

    def follow(self, earlier: "HookRunner") -> None:
        """Go on with the same session under other settings.

        A new hook waits for the next token. If hooks were cut short, all of them are run.
        """
        if earlier._app.ports.hooks:  # noqa: SLF001  # of the same class
            self._generation = earlier._generation - bool(earlier._to_run)  # noqa: SLF001  # as above
        self._ran = earlier._ran  # noqa: SLF001  # as above

    async def work(self) -> None:
        """Run the hooks for the newest token that all outputs hold."""
        generation = self._delivered()
        if generation > self._generation:
            self._generation, self._to_run = generation, self._app.ports.hooks
        while self._to_run:
            # Taken out before it runs: a bug in it must not crash the app again and again.
            hook, *others = self._to_run
            self._to_run = tuple(others)
            try:
                await self._run(hook)
            except asyncio.CancelledError:
                self._to_run = (hook, *self._to_run)
                raise

    def _delivered(self) -> int:
        """Return the newest token's generation if it is valid and all outputs hold it, else 0."""
        token = valid_token(self._app.session, self._app.now())
        if token is None:
            return 0
        held = [delivery.status.holds for delivery in self._deliveries]
        # By generation: a token has arrived even if its longer life is still to be written.
        arrived = all(one is not None and one.generation == token.generation for one in held)
        return token.generation if arrived else 0

    async def _run(self, hook: Hook) -> None:
        began = self._app.now()
        result = HookResult.OK
        try:
            message = await hook.run(self._generation)
        except HookError as error:
            result = HookResult.TIMEOUT if error.timed_out else HookResult.FAILED
            message = str(error)
        now = self._app.now()
        duration = now - began
        self._ran = {**self._ran, hook.name: HookStatus(hook.name, result, message, now, duration)}
        self._app.observe(events.HookRan(self._app.name, hook.name, result, duration, message))
