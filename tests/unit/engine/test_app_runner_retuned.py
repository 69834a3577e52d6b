"""One app under other settings: its session goes on, and so does everything that did not change."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest

from refresherd.domain.errors import Reason, Rejected, Retryable, SessionLost
from refresherd.domain.events import OutputRemoved, OutputWritten
from refresherd.domain.model import App, FileSpec, Format, Grant, Method, Timing, Token
from refresherd.domain.session_state import State
from refresherd.engine.app_runner import AppRunner
from support.fake_app import FakeApp, Script, running
from support.fakes import FakeOutput, grants, settle

PATH = "/run/payments.token"
OUTAGE = Retryable(Reason.CONNECT, "connection refused")


class Reloaded(FakeApp):
    """An app with a file, run under one setting after another."""

    def __init__(
        self,
        script: Script,
        *,
        output: FakeOutput | None = None,
        terminations: Iterable[BaseException | asyncio.Event | None] = repeat(None),
    ) -> None:
        super().__init__(script, outputs=(output or FakeOutput(PATH),), terminations=terminations)
        self.app = replace(self.app, files=(FileSpec(Path(PATH)),))
        self.runner = AppRunner(self.app, self.app_context, self.context)

    async def keep(self, seconds: float) -> None:
        """Run the app for some seconds."""
        async with running(self.runner.run()):
            await self.schedule.advance(seconds)

    def retune(self, app: App, *outputs: FakeOutput) -> None:
        """Change the app's settings and its outputs."""
        self.outputs = outputs or (FakeOutput(PATH),)
        self.runner = self.runner.retuned(app, self.app_context)
        self.app = app

    def requests(self) -> list[tuple[str, float]]:
        """Return what DSM was asked and when, seconds from the start."""
        return [(call.name, call.at - 1000) for call in self.scripted.calls]


async def test_the_next_renewal_stays_as_scheduled() -> None:
    """If each reload of an output drew a new jitter, renewals would move ever closer."""
    app = Reloaded(grants())
    app.rng = 0.5
    await app.keep(10)
    before = app.runner.cell.session
    app.rng = 0.99
    app.retune(replace(app.app, files=()))
    assert app.runner.cell.session is before


@pytest.mark.parametrize(("elapsed", "at"), [(252, 252.6), (255, 255)])
async def test_a_failing_app_is_retried_at_once(elapsed: float, at: float) -> None:
    """The change may have removed the cause, a proxy for example; tries stay `retry_min` apart."""
    app = Reloaded([*grants_of(1), OUTAGE, OUTAGE, OUTAGE, *grants_of(1)])
    app.rng = 0.9
    await app.keep(elapsed)
    assert round(app.runner.cell.session.next_attempt_at - 1000, 1) == 258.9
    app.retune(replace(app.app, endpoint=replace(app.app.endpoint, proxy="http://proxy:3128")))
    await app.keep(1)
    assert app.runner.cell.session.state is State.FRESH
    assert round(app.requests()[-1][1], 1) == at


def grants_of(count: int) -> list[Grant]:
    """Return the first grants."""
    return [grant for grant, _ in zip(grants(), range(count), strict=False)]


async def test_a_refused_credential_is_tried_again() -> None:
    """Whatever was changed, an operator was at work."""
    app = Reloaded([Rejected(Reason.REJECTED, "bad key"), *grants_of(1)])
    await app.keep(10)
    app.retune(replace(app.app, timing=Timing(at=0.4)))
    await app.keep(0)
    assert app.requests() == [("login", 0), ("login", 10)]


async def test_watchers_keep_their_cell() -> None:
    """A stream of tokens goes on through a reload, and each token comes once."""
    app = Reloaded(grants())
    await app.keep(10)
    view = app.runner.cell
    app.retune(replace(app.app, timing=Timing(at=0.4)))
    watcher = asyncio.create_task(view.changed(view.version))
    await app.keep(300)
    assert watcher.done()
    assert not view.closed
    assert app.runner.cell is view
    assert view.session.generation == 2


async def test_a_file_in_another_format_is_rewritten_at_the_same_path() -> None:
    """Its consumers wait for the new format, not for the next token."""
    app = Reloaded(grants())
    old = app.outputs[0]
    await app.keep(10)
    new = FakeOutput(PATH)
    app.retune(replace(app.app, files=(FileSpec(Path(PATH), Format.JSON),)), new)
    await app.keep(1)
    assert old.closed
    assert [token and token.generation for token in new.history] == [1]
    assert app.requests() == [("login", 0)]


async def test_an_interrupted_write_is_repeated() -> None:
    """If the disk hung during the reload, the old token must not stay for good."""
    output = FakeOutput(PATH, [None, asyncio.Event()])
    app = Reloaded(grants(), output=output)
    await app.keep(10)
    app.retune(replace(app.app, timing=Timing(at=0.4)))
    await app.keep(1)
    assert not output.closed
    assert [token and token.generation for token in output.history] == [1]


async def test_an_interrupted_attempt_is_repeated() -> None:
    """Its late answer reaches nobody, so the first token would never come."""
    app = Reloaded([asyncio.Event(), *grants_of(1)])
    await app.keep(5)
    app.retune(replace(app.app, timing=Timing(at=0.4)))
    app.scripted.calls.clear()
    await app.keep(0)
    assert app.requests() == [("login", 5)]
    assert not app.attempts.locked()


async def test_an_interrupted_termination_is_repeated() -> None:
    """Otherwise each reload could leave a session to idle out."""
    app = Reloaded(grants(), terminations=[asyncio.Event(), None])
    await app.keep(365)
    app.retune(replace(app.app, timing=Timing(at=0.6)))
    await app.keep(5)
    assert app.requests()[-2:] == [("terminate", 360), ("terminate", 365)]


async def test_another_renewal_method_applies_from_the_next_renewal() -> None:
    """A consumer that cannot read again must not lose its token to the change itself."""
    app = Reloaded(grants())
    await app.keep(10)
    app.retune(replace(app.app, timing=Timing(renew=Method.KEEPALIVE)))
    await app.keep(300)
    assert app.requests() == [("login", 0), ("keep_alive", 300)]


async def test_an_end_removes_a_dead_token_that_is_still_in_a_file() -> None:
    """DSM declared it dead just before the app was removed, and the disk hung."""
    gate = asyncio.Event()
    output = FakeOutput(PATH, [None, None, gate])
    app = Reloaded([*grants_of(1), SessionLost("gone"), OUTAGE], output=output)
    await app.keep(300)
    assert shown(app) == [1]
    await app.runner.clear()
    assert shown(app) == [1, None]


def shown(app: Reloaded) -> list[int | None]:
    """Return the generations that the file has contained so far, None for no token."""
    seen: list[Token | None] = app.outputs[0].history
    written = len(app.observer.of(OutputWritten)) + len(app.observer.of(OutputRemoved))
    assert written == len(seen)
    return [None if token is None else token.generation for token in seen]


async def test_any_number_of_reloads_leaves_one_sleeping_task() -> None:
    """The tasks of each setting end with it."""
    app = Reloaded(grants())
    for number in range(10):
        app.retune(replace(app.app, timing=Timing(at=0.3 + number / 100)), app.outputs[0])
        await app.keep(1)
    async with running(app.runner.run()):
        await settle()
        assert len(asyncio.all_tasks()) == 2, "the runner's and this test's"
    assert len(app.outputs[0].history) == 1
