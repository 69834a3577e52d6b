"""No two tokens of an app have the same generation, and none is left out without need."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import Grant, Timing
from refresherd.domain.session_state import State
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.generations import Generations
from support.fake_app import FakeApp, running, stop
from support.fakes import FakeGenerationStore, grants, settle

OUTAGE = Retryable(Reason.CONNECT, "connection refused")


class Host:
    """A host whose daemon is started again and again with the same `state_dir`."""

    def __init__(self) -> None:
        self.store = FakeGenerationStore()
        self.issued: list[int] = []

    async def run(self, *script: Grant | Retryable | asyncio.Event, stops: bool = True) -> FakeApp:
        """Run an app through its attempts, and stop the daemon, or kill it."""
        app = FakeApp(script, timing=Timing(jitter=0.0))
        app.context = replace(app.context, generations=Generations(self.store))
        runner = AppRunner(app.app, app.app_context, app.context)
        app.cell = runner.cell
        async with running(runner.run()):
            for _ in script[1:]:
                app.schedule.clock.advance(1000)
                runner.refresh()
                await settle()
        if app.session.token is not None:
            self.issued.append(app.session.token.generation)
        if stops:
            runner.leave()
            await app.context.generations.close()
        return app


async def test_generations_continue_after_a_stop() -> None:
    """Consumers compare generations to see whether a token is newer than theirs."""
    host = Host()
    await host.run(*islice(grants(), 3))
    await host.run(*islice(grants(), 1))
    assert host.issued == [3, 4]
    assert host.store.saved == {"payments": 4}


async def test_a_kill_gives_no_generation_twice() -> None:
    """The process is killed at any moment after a token was published."""
    host = Host()
    await host.run(*islice(grants(), 2), stops=False)
    await host.run(*islice(grants(), 1), stops=False)
    assert host.issued == [2, 3]


async def test_a_token_that_never_came_costs_no_number_after_a_stop() -> None:
    """Days of an outage, with restarts, leave no gap."""
    host = Host()
    await host.run(OUTAGE, OUTAGE)
    await host.run(OUTAGE)
    await host.run(OUTAGE, next(grants()))
    assert host.issued == [1]


async def test_a_stop_before_the_first_attempt_loses_nothing() -> None:
    """The app's last generation was not looked up yet."""
    store = FakeGenerationStore({"payments": 7})
    generations = Generations(store)
    generations.settle("payments", 0)
    await generations.close()
    assert await Generations(store).last("payments") == 7


async def test_an_app_that_continues_its_numbers_is_still_starting() -> None:
    """`expired` would tell an operator that a token was there and is lost."""
    host = Host()
    await host.run(next(grants()))
    app = await host.run(OUTAGE)
    assert (app.session.state, app.session.generation) == (State.STARTING, 1)


async def test_a_request_is_not_sent_before_its_generation_is_saved() -> None:
    """Otherwise a kill between the answer and the write would give the number twice."""
    saved = asyncio.Event()
    app = FakeApp(islice(grants(), 1))
    generations = Generations(FakeGenerationStore(script=[saved]))
    app.context = replace(app.context, generations=generations)
    async with running(AppRunner(app.app, app.app_context, app.context, app.cell).run()):
        assert app.scripted.calls == []
        saved.set()
        await settle()
        assert app.session.generation == 1


async def test_attempts_that_begin_together_share_a_write() -> None:
    """Ten thousand apps log in at the start, and a write each would take minutes."""
    held = asyncio.Event()
    store = FakeGenerationStore(script=[held])
    generations = Generations(store)
    tasks = [asyncio.create_task(generations.reserve(f"app-{n}", 1)) for n in range(100)]
    await settle()
    held.set()
    await asyncio.gather(*tasks)
    assert [len(changes) for changes in store.saves] == [1, 99]


async def test_an_attempt_waits_for_the_write_that_holds_its_number() -> None:
    """A reload cancels an attempt whose number another one writes, and begins it anew."""
    held = asyncio.Event()
    generations = Generations(FakeGenerationStore(script=[held]))
    writer = asyncio.create_task(generations.reserve("orders", 3))
    await settle()
    again = asyncio.create_task(generations.reserve("orders", 3))
    await settle()
    assert not again.done()
    held.set()
    await asyncio.gather(writer, again)


async def test_further_attempts_at_the_same_token_write_nothing() -> None:
    """During an outage, thousands of retries must not keep a disk busy."""
    store = FakeGenerationStore()
    generations = Generations(store)
    for _ in range(3):
        await generations.reserve("payments", 8)
    assert store.saves == [{"payments": 8}]


async def test_what_a_cancelled_attempt_did_not_save_is_saved_by_the_next() -> None:
    """A reload cancels attempts, also those that wait for a slow disk."""
    store = FakeGenerationStore(script=[asyncio.Event()])
    generations = Generations(store)
    task = asyncio.create_task(generations.reserve("payments", 8))
    await settle()
    await stop(task)
    await generations.reserve("payments", 8)
    assert store.saved == {"payments": 8}


@pytest.mark.parametrize("saved", [{}, {"payments": 3}, {"payments": 12}])
async def test_what_systemd_kept_counts_as_well(saved: Mapping[str, int]) -> None:
    """A session in the fd store outlives a restart without a `state_dir`, or with an older one."""
    generations = Generations(FakeGenerationStore(saved), {"payments": 7, "other": 2})
    assert await generations.last("payments") == max(7, saved.get("payments", 0))
    assert await generations.last("other") == 2


async def test_without_a_state_dir_an_app_that_comes_back_goes_on() -> None:
    """It was removed from the configuration, and a later reload configures it again."""
    generations = Generations()
    await generations.reserve("payments", 8)
    assert await generations.last("payments") == 0
    generations.settle("payments", 7)
    assert await generations.last("payments") == 7


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8))
def test_generations_grow_by_one_through_any_stops(runs: list[tuple[int, bool]]) -> None:
    """Each run has some tokens, and may end with an attempt that fails."""

    async def main() -> None:
        host, expected = Host(), 0
        for tokens, fails in runs:
            script: list[Grant | Retryable | asyncio.Event] = list(islice(grants(), tokens))
            script += [OUTAGE] * fails
            if script:
                await host.run(*script)
                expected += tokens
            assert host.store.saved.get("payments", 0) == expected

    asyncio.run(main())
