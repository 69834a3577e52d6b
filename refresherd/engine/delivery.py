"""Brings one output to the newest token, and tries again by itself while it fails."""

from dataclasses import replace
from math import inf

from refresherd.domain import timing
from refresherd.domain.errors import OutputError
from refresherd.domain.events import OutputFailed, OutputRemoved, OutputWritten
from refresherd.domain.model import Instant, Timing, Token
from refresherd.domain.readiness import OutputStatus
from refresherd.domain.session_state import ALWAYS, NEVER, valid_token
from refresherd.engine.context import Context
from refresherd.engine.ports import Output, TokenView

RETRIES = Timing(retry_min=0.5, retry_max=10.0)
"""A disk that has room again should not be waited for much longer."""


class Delivery:
    """One output of one app. Its tries are tasks of their own: a slow one holds up nobody.

    It reads the store anew for each try, so that an output that was stuck gets the
    newest token and never one that ran out meanwhile.
    """

    __slots__ = (
        "_app",
        "_context",
        "_emptied",
        "_failures",
        "_output",
        "_prepared",
        "_retry_at",
        "_seen",
        "_status",
        "_view",
    )

    def __init__(self, app: str, output: Output, view: TokenView, context: Context) -> None:
        self._app = app
        self._output = output
        self._view = view
        self._context = context
        self._status = OutputStatus(output.name)
        self._prepared = False
        self._emptied = False
        self._seen = 0
        self._failures = 0
        self._retry_at = ALWAYS

    @property
    def status(self) -> OutputStatus:
        """What the output holds, and why it is behind if it is."""
        return self._status

    @property
    def due_at(self) -> Instant:
        """When to try to bring the output up to date, NEVER while it is."""
        return NEVER if self._seen == self._view.version else self._retry_at

    async def work(self) -> None:
        """Bring the output up to date with the store; where that fails, it is due again."""
        version = self._view.version
        try:
            await self._deliver()
        except OutputError as error:
            self._failures += 1
            now, rand = self._context.clock.now(), self._context.rng()
            pause = timing.backoff(self._failures, RETRIES, rand, self._left(now))
            self._retry_at = Instant(now + pause)
            self._failed(error, pause)
        else:
            self._seen = version
            self._failures = 0

    async def clear(self) -> None:
        """Take the token away for good, once nothing else is done with the output."""
        try:
            await self._remove()
        except OutputError as error:
            self._failed(error, retry_in=0.0)

    def close(self) -> None:
        """Have the output serve nobody any more."""
        self._output.close()

    def _left(self, now: Instant) -> float:
        """Return how long what the output holds is good for yet: as long as there is no hurry."""
        held = self._status.holds
        return inf if held is None or held.expires_at <= now else held.expires_at - now

    async def _deliver(self) -> None:
        if not self._prepared:
            await self._output.prepare()
            self._prepared = True
        session = self._view.session
        token = valid_token(session, self._context.clock.now())
        if token is not None:
            await self._put(token)
        elif session.dead or (session.expired and self._output.removes_expired):
            await self._remove()

    async def _put(self, token: Token) -> None:
        if token == self._status.holds:
            return
        self._emptied = False  # a write that fails or is cancelled may land all the same
        await self._output.put(token)
        now = self._context.clock.now()
        self._status = OutputStatus(self._output.name, holds=token, written_at=now)
        self._context.observer.observe(
            OutputWritten(self._app, self._output.name, token.generation)
        )

    async def _remove(self) -> None:
        if self._emptied:
            return
        await self._output.remove()
        self._emptied = True
        self._status = OutputStatus(self._output.name)
        self._context.observer.observe(OutputRemoved(self._app, self._output.name))

    def _failed(self, error: OutputError, retry_in: float) -> None:
        self._status = replace(self._status, error=str(error))
        self._context.observer.observe(
            OutputFailed(self._app, self._output.name, str(error), retry_in)
        )
