"""One app with everything that it needs, all of it fake."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

from refresherd.domain.model import ApiKeyFile, App, Endpoint, Grant, Timing, Token
from refresherd.domain.session_state import SessionState, begin
from refresherd.engine.context import AppContext, Context, RunningApp, StateCell
from refresherd.engine.ports import Hook, SessionClient
from refresherd.engine.renewal import Renewal
from support.fakes import (
    FakeClock,
    FakeCredential,
    FakeOutput,
    FakeSchedule,
    RecordingObserver,
    ScriptedClient,
    settle,
)

Script = Iterable[Grant | BaseException | asyncio.Event]


TIMING = Timing()


class FakeApp:
    """The parts of one app, which a test puts together as far as it needs them.

    Random numbers are 0 until `rng` is set: renewals are due exactly at `at`, and backoffs are
    `retry_min`. Each semaphore admits one, so that a place that is not given back shows.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        timing: Timing = TIMING,
        outputs: tuple[FakeOutput, ...] = (),
        terminations: Iterable[BaseException | asyncio.Event | None] = repeat(None),
    ) -> None:
        self.rng = 0.0
        self.clock = FakeClock()
        self.schedule = FakeSchedule(self.clock)
        self.observer = RecordingObserver()
        self.scripted = ScriptedClient(self.clock, script, terminations)
        self.client: SessionClient = self.scripted
        self.credential = FakeCredential()
        self.outputs = outputs
        self.hooks: tuple[Hook, ...] = ()
        self.attempts = asyncio.Semaphore(1)
        self.endings = asyncio.Semaphore(1)
        endpoint = Endpoint("https://dsm.example.com")
        self.app = App("payments", endpoint, ApiKeyFile(Path("payments.key")), timing)
        self.context = Context(self.clock, self.schedule, self.observer, lambda: self.rng)
        self.cell = StateCell(begin(self.clock.now()))

    @property
    def app_context(self) -> AppContext:
        """The app's ports, as they are set up by now."""
        return AppContext(
            self.client, self.credential, self.attempts, self.endings, self.outputs, self.hooks
        )

    @property
    def running_app(self) -> RunningApp:
        """What the app's parts share, as it is set up by now."""
        return RunningApp(self.app, self.app_context, self.cell, self.context)

    @property
    def session(self) -> SessionState:
        """The newest session state in the cell."""
        return self.cell.session

    def renewal(self) -> Renewal:
        """Return the app's renewal, on its cell."""
        return Renewal(self.running_app)


@asynccontextmanager
async def running(work: Coroutine[None, None, object]) -> AsyncIterator[None]:
    """Run a coroutine until the block ends; it must then leave no task behind."""
    task = asyncio.create_task(work)
    await settle()
    try:
        yield
    finally:
        await stop(task)


async def stop(task: asyncio.Task[object]) -> None:
    """Cancel a task, which must end by that at once and leave no other behind."""
    task.cancel()
    await settle()
    assert task.done(), "its cancellation was lost"
    assert task.cancelled() or task.result() is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


class HonestOutput(FakeOutput):
    """An output that must never be given an expired token, nor an older one than before."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._generation = 0

    async def put(self, token: Token) -> None:
        """Hold this token, which must be valid."""
        assert token.expires_at > self._clock.now()
        assert token.generation >= self._generation
        self._generation = token.generation
        await super().put(token)
