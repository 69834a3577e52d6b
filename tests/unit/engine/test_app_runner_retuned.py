"""One app under other settings: its session goes on, and so does all that did not change."""

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
    """An app with a file, kept under one setting after the other."""

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
        """Keep the app for so long."""
        async with running(self.runner.run()):
            await self.schedule.advance(seconds)

    def retune(self, app: App, *outputs: FakeOutput) -> None:
        """Change the app's settings, and what it is kept with."""
        self.outputs = outputs or (FakeOutput(PATH),)
        self.runner = self.runner.retuned(app, self.app_context)
        self.app = app

    def requests(self) -> list[tuple[str, float]]:
        """Return what DSM was asked and when, seconds from the start."""
        return [(call.name, call.at - 1000) for call in self.scripted.calls]


async def test_the_next_renewal_stays_when_it_is() -> None:
    """A reload for an output's sake redraws no lot, or each one would bring renewals nearer."""
    app = Reloaded(grants())
    app.rng = 0.5
    await app.keep(10)
    before = app.runner.cell.session
    app.rng = 0.99
    app.retune(replace(app.app, files=()))
    assert app.runner.cell.session is before


@pytest.mark.parametrize(("elapsed", "at"), [(252, 252.6), (255, 255)])
async def test_trouble_is_tried_again_at_once(elapsed: float, at: float) -> None:
    """What was changed may be the proxy that was in the way; two tries are `retry_min` apart."""
    app = Reloaded([*grants_of(1), OUTAGE, OUTAGE, OUTAGE, *grants_of(1)])
    app.rng = 0.9
    await app.keep(elapsed)
    assert round(app.runner.cell.session.next_attempt_at - 1000, 1) == 258.9
    app.retune(replace(app.app, endpoint=replace(app.app.endpoint, proxy="http://proxy:3128")))
    await app.keep(1)
    assert app.runner.cell.session.state is State.FRESH
    assert round(app.requests()[-1][1], 1) == at


def grants_of(count: int) -> list[Grant]:
    """Return the first so many grants."""
    return [grant for grant, _ in zip(grants(), range(count), strict=False)]


async def test_a_refused_credential_is_tried_again() -> None:
    """Whatever was changed, an operator was there."""
    app = Reloaded([Rejected(Reason.REJECTED, "bad key"), *grants_of(1)])
    await app.keep(10)
    app.retune(replace(app.app, timing=Timing(at=0.4)))
    await app.keep(0)
    assert app.requests() == [("login", 0), ("login", 10)]


async def test_who_watches_sees_the_same_view() -> None:
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


async def test_a_file_in_another_format_is_written_anew_at_the_same_path() -> None:
    """Its consumers wait for that, not for the next token."""
    app = Reloaded(grants())
    old = app.outputs[0]
    await app.keep(10)
    new = FakeOutput(PATH)
    app.retune(replace(app.app, files=(FileSpec(Path(PATH), Format.JSON),)), new)
    await app.keep(1)
    assert old.closed
    assert [token and token.generation for token in new.history] == [1]
    assert app.requests() == [("login", 0)]


async def test_a_write_that_was_cut_short_is_made_up_for() -> None:
    """A disk that hung while the file was reloaded must not keep the old token for good."""
    output = FakeOutput(PATH, [None, asyncio.Event()])
    app = Reloaded(grants(), output=output)
    await app.keep(10)
    app.retune(replace(app.app, timing=Timing(at=0.4)))
    await app.keep(1)
    assert not output.closed
    assert [token and token.generation for token in output.history] == [1]


async def test_an_attempt_that_was_cut_short_is_made_again() -> None:
    """Its late answer reaches nobody, so the first token would never come."""
    app = Reloaded([asyncio.Event(), *grants_of(1)])
    await app.keep(5)
    app.retune(replace(app.app, timing=Timing(at=0.4)))
    app.scripted.calls.clear()
    await app.keep(0)
    assert app.requests() == [("login", 5)]
    assert not app.attempts.locked()


async def test_an_ending_that_was_cut_short_is_made_again() -> None:
    """Else its session would be left to idle out, with each reload another."""
    app = Reloaded(grants(), terminations=[asyncio.Event(), None])
    await app.keep(365)
    app.retune(replace(app.app, timing=Timing(at=0.6)))
    await app.keep(5)
    assert app.requests()[-2:] == [("terminate", 360), ("terminate", 365)]


async def test_a_way_to_renew_is_taken_up_at_the_next_renewal() -> None:
    """A consumer that can't read again must not lose its token to the change itself."""
    app = Reloaded(grants())
    await app.keep(10)
    app.retune(replace(app.app, timing=Timing(renew=Method.KEEPALIVE)))
    await app.keep(300)
    assert app.requests() == [("login", 0), ("keep_alive", 300)]


async def test_an_end_takes_away_a_dead_token_that_is_still_shown() -> None:
    """DSM declared it dead just before the app went, and its file could not be emptied yet."""
    gate = asyncio.Event()
    output = FakeOutput(PATH, [None, None, gate])
    app = Reloaded([*grants_of(1), SessionLost("gone"), OUTAGE], output=output)
    await app.keep(300)
    assert shown(app) == [1]
    await app.runner.clear()
    assert shown(app) == [1, None]


def shown(app: Reloaded) -> list[int | None]:
    """Return the generations that the file has shown so far, None for no token."""
    seen: list[Token | None] = app.outputs[0].history
    written = len(app.observer.of(OutputWritten)) + len(app.observer.of(OutputRemoved))
    assert written == len(seen)
    return [None if token is None else token.generation for token in seen]


async def test_any_number_of_reloads_leaves_one_sleeper() -> None:
    """Each setting's tasks end with it."""
    app = Reloaded(grants())
    for number in range(10):
        app.retune(replace(app.app, timing=Timing(at=0.3 + number / 100)), app.outputs[0])
        await app.keep(1)
    async with running(app.runner.run()):
        await settle()
        assert len(asyncio.all_tasks()) == 2, "the keeper's and this test's"
    assert len(app.outputs[0].history) == 1
