"""An app's hooks: run in order, once for each token, when every output holds it."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, repeat
from typing import TYPE_CHECKING

from refresherd.domain.errors import HookError, OutputError, SessionLost
from refresherd.domain.events import AppCrashed, HookRan, Renewed
from refresherd.domain.labels import HookResult
from refresherd.domain.model import Instant, Method, Timing
from refresherd.engine import ports
from refresherd.engine.app_runner import AppRunner
from support.fake_app import TIMING, FakeApp, Script, running
from support.fakes import FakeClock, FakeOutput, grants, settle

FIRST = next(grants())
DISK_FULL = OutputError("no space left on device")
FAILURE = HookError("exit status 1: no such unit")
BUG = RuntimeError("bug")
NAME = "hooks[0] systemctl"
KEEPALIVE = Timing(renew=Method.KEEPALIVE)


class FakeHook:
    """A hook that records the generations and instants it is run for.

    `script` has an entry per run: None succeeds, an error is raised, an Event waited for, and
    a number of seconds passes; when it runs out, runs succeed.
    """

    def __init__(
        self,
        clock: FakeClock,
        script: Iterable[Exception | asyncio.Event | float | None] = (),
        name: str = NAME,
    ) -> None:
        self.name = name
        self._clock = clock
        self._script = chain(script, repeat(None))
        self.runs: list[tuple[int, float]] = []

    async def run(self, generation: int) -> str:
        """Follow the script."""
        self.runs.append((generation, self._clock.now() - 1000))
        match next(self._script):
            case asyncio.Event() as gate:
                await gate.wait()
            case Exception() as error:
                raise error
            case float(seconds):
                self._clock.advance(seconds)
        return ""

    @property
    def generations(self) -> list[int]:
        """Which tokens it was run for."""
        return [generation for generation, _ in self.runs]


class Notified(FakeApp):
    """An app with hooks, and its runner."""

    def __init__(
        self,
        script: Script,
        *hooks: Iterable[Exception | asyncio.Event | float | None],
        outputs: tuple[FakeOutput, ...] = (),
        timing: Timing = TIMING,
    ) -> None:
        super().__init__(script, outputs=outputs, timing=timing)
        self.fakes = tuple(
            FakeHook(self.clock, each, f"hooks[{index}] systemctl")
            for index, each in enumerate(hooks)
        )
        app_context = replace(self.app_context, hooks=self.fakes)
        self.runner = AppRunner(self.app, app_context, self.context)

    async def keep(self, seconds: float) -> None:
        """Run the app for some seconds."""
        async with running(self.runner.run()):
            await self.schedule.advance(seconds)

    @property
    def ran(self) -> list[HookRan]:
        """The runs of hooks that observers saw."""
        return self.observer.of(HookRan)


if TYPE_CHECKING:

    def _mirror(hook: FakeHook) -> ports.Hook:
        """Let mypy compare the fake with its port."""
        return hook


async def test_hooks_run_after_each_new_token_in_their_order() -> None:
    """The first token at start counts as well: the service may have been started before us."""
    app = Notified(grants(), (), ())
    await app.keep(301)
    assert [run.hook for run in app.ran] == ["hooks[0] systemctl", "hooks[1] systemctl"] * 2
    assert [hook.runs for hook in app.fakes] == [[(1, 0), (2, 300)]] * 2
    assert app.ran[0] == HookRan("payments", NAME, HookResult.OK, 0.0)


async def test_a_hook_waits_until_every_output_holds_the_token() -> None:
    """A service that reloads must find the new token, not the old one."""
    gate = asyncio.Event()
    outputs = (FakeOutput("/a", [None, gate]), FakeOutput("/b", [None, DISK_FULL]), FakeOutput())
    app = Notified([FIRST], (), outputs=outputs)
    async with running(app.runner.run()):
        await app.schedule.advance(10)
        assert [output.holds is None for output in outputs] == [True, False, False]
        assert app.fakes[0].runs == []
        gate.set()
        await settle()
        assert app.fakes[0].runs == [(1, 10)]


async def test_hooks_run_one_after_the_other() -> None:
    """One hook may check a configuration, and the next one reload it."""
    gate = asyncio.Event()
    app = Notified([FIRST], [gate], ())
    async with running(app.runner.run()):
        await app.schedule.advance(5)
        assert [len(hook.runs) for hook in app.fakes] == [1, 0]
        gate.set()
        await settle()
        assert app.fakes[1].runs == [(1, 5)]


async def test_a_longer_life_of_the_same_token_runs_no_hook() -> None:
    """Keep-alive is for services that cannot read again; a hook would restart them."""
    app = Notified(grants(), (), outputs=(FakeOutput(),), timing=KEEPALIVE)
    await app.keep(1000)
    assert len(app.observer.of(Renewed)) == 4
    assert app.fakes[0].runs == [(1, 0)]


async def test_an_output_holds_a_token_even_if_its_longer_life_is_not_written() -> None:
    """One output was late, another fails later: consumers of both have the token."""
    gate = asyncio.Event()
    outputs = (FakeOutput("/a", [None, gate]), FakeOutput("/b", [None, None, *[DISK_FULL] * 99]))
    app = Notified(grants(), (), outputs=outputs, timing=KEEPALIVE)
    async with running(app.runner.run()):
        await app.schedule.advance(301)
        gate.set()
        await settle()
        assert app.fakes[0].runs == [(1, 301)]


async def test_a_hanging_hook_delays_nothing_and_is_next_run_for_the_newest_token() -> None:
    """Tokens are renewed and delivered meanwhile, and replaced ones need no hook any more."""
    gate = asyncio.Event()
    output = FakeOutput()
    app = Notified(grants(), [gate], (), outputs=(output,))
    async with running(app.runner.run()):
        await app.schedule.advance(901)
        assert app.scripted.instants("reauth") == [1300, 1600, 1900]
        assert [token.generation for token in output.history if token] == [1, 2, 3, 4]
        assert app.fakes[0].generations == [1]
        gate.set()
        await settle()
    assert [hook.generations for hook in app.fakes] == [[1, 4], [1, 4]]


async def test_a_failed_hook_is_reported_and_not_repeated_until_the_next_token() -> None:
    """A failed reload may have done half its work: people decide whether to repeat it."""
    app = Notified(grants(), [FAILURE], ())
    await app.keep(301)
    assert [hook.generations for hook in app.fakes] == [[1, 2], [1, 2]]
    results = [(run.result, run.message) for run in app.ran]
    assert (
        results == [(HookResult.FAILED, "exit status 1: no such unit")] + [(HookResult.OK, "")] * 3
    )


async def test_the_duration_of_a_hook_is_reported() -> None:
    """A hook that is close to its timeout shows before it fails."""
    app = Notified([FIRST], [2.5], [HookError("not done within 10 s", timed_out=True)])
    await app.keep(1)
    assert app.ran == [
        HookRan("payments", "hooks[0] systemctl", HookResult.OK, 2.5),
        HookRan("payments", "hooks[1] systemctl", HookResult.TIMEOUT, 0.0, "not done within 10 s"),
    ]


async def test_no_hook_runs_for_an_expired_token() -> None:
    """An output that got it too late is no reason to reload a service."""
    gate = asyncio.Event()
    outage = repeat(SessionLost("forbidden", dead=False))
    app = Notified(chain([FIRST], outage), (), outputs=(FakeOutput("/a", [None, gate]),))
    async with running(app.runner.run()):
        await app.schedule.advance(600)
        gate.set()
        await settle()
    assert app.outputs[0].history
    assert app.fakes[0].runs == []


async def test_a_bug_in_a_hook_does_not_end_the_app_time_and_again() -> None:
    """Its tokens must be renewed, and its other hooks must run."""
    app = Notified(grants(), [BUG, BUG], ())
    await app.keep(310)
    assert len(app.observer.of(AppCrashed)) == 2
    assert app.runner.cell.session.generation == 2
    assert [hook.generations for hook in app.fakes] == [[1, 2], [1, 2]]


async def test_a_hook_interrupted_by_another_bug_is_run_again() -> None:
    """Its service may not have reloaded, and would use a token that is about to end."""
    app = Notified([FIRST, BUG, asyncio.Event()], [asyncio.Event()], ())
    await app.keep(302)
    assert app.fakes[0].runs == [(1, 0), (1, 301)]
    assert app.fakes[1].runs == [(1, 301)]


async def reloaded(
    app: Notified, *new: Iterable[Exception | asyncio.Event | float | None]
) -> list[list[int]]:
    """Change an app's hooks after a second; return what the new ones ran for by 301 s."""
    await app.keep(1)
    hooks = tuple(FakeHook(app.clock, script) for script in new)
    app.runner = app.runner.retuned(app.app, replace(app.app_context, hooks=hooks))
    await app.keep(1)
    before = [hook.generations[:] for hook in hooks]
    await app.keep(300)
    assert [hook.generations for hook in hooks] == [[*each, 2] for each in before]
    return before


async def test_a_reload_runs_no_hook_again() -> None:
    """It brings no new token: editing a timeout must not reload every service."""
    assert await reloaded(Notified(grants(), ()), (), ()) == [[], []]


async def test_a_hook_that_a_reload_adds_waits_for_the_next_token() -> None:
    """Its service has read the present token already, as it had to before."""
    assert await reloaded(Notified(grants()), ()) == [[]]


async def test_hooks_interrupted_by_a_reload_run_under_the_new_settings() -> None:
    """The reload may be meant to fix a hook that hangs."""
    assert await reloaded(Notified(grants(), [asyncio.Event()]), (), ()) == [[1], [1]]


async def test_an_app_is_idle_between_its_hooks() -> None:
    """Ten thousand apps are ten thousand sleeping tasks, with or without hooks."""
    app = Notified(grants(), (), outputs=(FakeOutput(),))
    async with running(app.runner.run()):
        await app.schedule.advance(1000)
        assert len(asyncio.all_tasks()) == 2, "the runner's and this test's"


async def test_a_stop_ends_a_hook() -> None:
    """A stop must be over in seconds, whatever a hook is doing."""
    app = Notified([FIRST], [asyncio.Event()])
    await app.keep(1)
    assert app.fakes[0].generations == [1]
    assert app.ran == []


async def test_the_last_run_of_each_hook_is_reported() -> None:
    """A hook that failed an hour ago is found without searching the log."""
    app = Notified(grants(), [FAILURE], ())
    first, second = app.runner.report().hooks
    assert (first.result, first.ran_at, second.failed) == (None, None, False)
    await app.keep(1)
    first, second = app.runner.report().hooks
    assert (first.name, first.result, first.message) == (NAME, HookResult.FAILED, str(FAILURE))
    assert first.failed
    assert first.ran_at == Instant(1000)
    assert second.result is HookResult.OK
    await app.keep(301)
    assert app.runner.report().hooks[0].result is HookResult.OK
