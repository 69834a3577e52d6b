"""Reloads of a running fleet: the apps that they name change, and no other is affected."""

import asyncio
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresherd.domain import readiness
from refresherd.domain.events import AppCrashed, OutputFailed, SessionEnded
from refresherd.domain.labels import Ending
from refresherd.domain.model import Access, App, Endpoint, Format
from refresherd.domain.session_state import State
from refresherd.engine.supervisor import BATCH, PAUSE
from simulations.fleet import ONE, TWO, Asked, Machine, an_app, machine
from support.fake_app import running, stop
from support.fakes import FakeSessionStore, settle

A, B, C = an_app("a", "/a"), an_app("b", "/b"), an_app("c", "/c")


@pytest.mark.parametrize(
    ("changed", "requests"),
    [
        ([A], []),
        ([B, A], []),
        ([A, B, C], [Asked("c", ONE, "login")]),
        ([A, an_app("b", "/b", at=0.6)], []),
        ([A, an_app("b", "/b", "/b2")], []),
        ([A, an_app("b", "/b", form=Format.JSON)], []),
        ([A, an_app("b", "/b", url=TWO)], [Asked("b", TWO, "login")]),
        ([A, an_app("b", "/b", key="other")], [Asked("b", ONE, "login")]),
    ],
)
async def test_only_what_changed_is_touched(changed: list[App], requests: list[Asked]) -> None:
    """A change of one app costs another neither a login nor a write nor a waiting consumer."""
    async with machine(A, B) as there:
        there.written.clear()
        assert await there.reload(*changed) == requests
        assert Path("/a") not in there.written
        names = [app.name for app in changed]
        assert [status.name for status in there.supervisor.statuses()] == names
        assert {there.status(name).session.state for name in names} == {State.FRESH}
        assert len(asyncio.all_tasks()) == 4 + len(changed)


async def test_whether_units_are_named_follows_the_configuration() -> None:
    """Older kernels take a descriptor for each client then, and none otherwise."""
    with_units = replace(B, access=Access(units=("web.service",)))
    async with machine(A, B) as there:
        found = [there.supervisor.names_units()]
        for apps in ((A, with_units), (with_units,), (A, B)):
            await there.reload(*apps)
            found.append(there.supervisor.names_units())
        assert found == [False, True, True, False]


async def test_sessions_of_removed_apps_are_left_or_ended_as_configured() -> None:
    """`shutdown = "keep"` leaves them; "terminate" ends them. Either way their files go first."""
    async with machine(A, B, C) as there:
        assert await there.reload(B, C) == []
        assert Path("/a") not in there.files
        requests = await there.reload(replace(B, endpoint=Endpoint(TWO)), end_sessions=True)
        operations = sorted((one.app, one.operation) for one in requests)
        assert operations == [("b", "login"), ("b", "terminate"), ("c", "terminate")]
        assert there.files.keys() == {Path("/b")}
        assert there.holder("/b") == "b"
        assert len(there.observer.of(SessionEnded)) == 2


@pytest.mark.parametrize("left", [[A], [A, replace(C, endpoint=Endpoint(TWO))]])
async def test_the_stored_session_of_a_removed_app_is_removed(left: list[App]) -> None:
    """If the app were added again, the next run would resume that session, not its newest."""
    async with machine(A) as there:
        there.sessions["c"] = before = FakeSessionStore()
        await there.reload(A, C)
        assert before.history != []
        there.sessions["c"] = FakeSessionStore()
        await there.reload(*left)
        assert (before.holds, before.removes) == (None, 1)
        assert there.sessions["c"].removes == 0


async def test_a_stop_of_the_daemon_leaves_the_stored_session() -> None:
    """The next run is to resume it."""
    async with machine(A) as there:
        there.sessions["c"] = stored = FakeSessionStore()
        await there.reload(A, C)
        newest = there.status("c").session.token
    assert (stored.holds, stored.removes) == (newest, 0)


@pytest.mark.parametrize(
    "swapped",
    [
        (an_app("a", "/b"), an_app("b", "/a")),
        (an_app("b", "/a"), an_app("a", "/b")),
        (an_app("c", "/b"), an_app("b", "/a")),
        (an_app("b", "/a", url=TWO), an_app("a", "/b", at=0.6)),
    ],
)
async def test_a_path_may_pass_to_another_app(swapped: tuple[App, ...]) -> None:
    """The old owner must have stopped before the new one starts, in whatever order they are."""
    async with machine(A, B) as there:
        await there.reload(*swapped)
        assert there.observer.of(AppCrashed) == []
        for app in swapped:
            assert there.holder(str(app.files[0].path)) == app.name


async def test_a_restarted_app_exists_all_the_time() -> None:
    """A client that waits for its token must not be told that there is no such app."""
    async with machine(A) as there:
        view = there.runner("a").cell
        watcher = asyncio.create_task(view.changed(view.version))
        there.hung.add(Path("/a"))
        moved = replace(A, endpoint=Endpoint(TWO))
        reload = asyncio.create_task(there.apply(moved, end_sessions=True))
        await settle()
        assert not reload.done()
        assert watcher.done()
        assert view.closed
        later = there.runner("a").cell
        assert not later.closed
        assert (later.session.token, later.session.generation) == (None, 1)
        reload.cancel()
        await settle()


async def test_generations_continue_when_an_app_is_configured_again() -> None:
    """It was removed for an hour, and its consumers have kept the old token."""
    async with machine(A, B) as there:
        await there.reload(B)
        await there.reload(A, B)
        assert there.status("a").session.generation == 2


async def test_generations_continue_when_an_app_is_restarted() -> None:
    """A consumer that compares them must not take the new token for an old one."""
    async with machine(A) as there:
        await there.reload(replace(A, endpoint=Endpoint(TWO)))
        assert there.status("a").session.generation == 2


async def test_watchers_of_a_removed_app_are_woken() -> None:
    """They would wait for ever."""
    async with machine(A, B) as there:
        view = there.runner("a").cell
        watcher = asyncio.create_task(view.changed(view.version))
        await there.reload(B)
        assert watcher.done()
        assert view.closed


async def test_a_key_replaced_under_the_same_name_is_used() -> None:
    """Its path is the same, so the configuration does not show the change."""
    async with machine(A, B) as there:
        there.keys[Path("a")] = "another"
        assert await there.reload(A, B) == [Asked("a", ONE, "login")]
        assert await there.reload(A, B) == []


async def test_a_refused_key_is_retried_by_a_reload_but_not_by_a_flood_of_them() -> None:
    """The operator may have corrected it in DSM; a script that goes wild must not burn it."""
    there = Machine(A)
    there.refused.add("key")
    async with running(there.supervisor.run()):
        for _ in range(25):
            await there.reload(A)
            await there.schedule.advance(0.1)
        assert len(there.requests) == 3
        there.refused.clear()
        await there.reload(A)
        await there.schedule.advance(1)
        assert there.status("a").session.state is State.FRESH


async def test_nothing_that_hangs_or_fails_delays_a_reload() -> None:
    """Neither a DSM that does not answer, nor a full disk, nor a bug in a removed app."""
    there = Machine(A, B, replace(C, endpoint=Endpoint(TWO)))
    there.hanging.add(TWO)
    async with running(there.supervisor.run()):
        await there.schedule.advance(10)
        there.stuck.add(Path("/a"))
        there.broken.add(Path("/b"))
        there.hanging.add(ONE)
        await there.reload(C, end_sessions=True)
        assert {failed.output for failed in there.observer.of(OutputFailed)} == {"/a"}
        assert {crash.app for crash in there.observer.of(AppCrashed)} == {"b"}
        there.hanging.clear()
        await there.schedule.advance(30)
        assert there.status("c").session.state is State.FRESH


async def test_a_stop_in_the_middle_of_a_reload_ends_every_session() -> None:
    """Also those of apps that were being removed while a disk hung."""
    there = Machine(A, B)
    run = asyncio.create_task(there.supervisor.run())
    await there.schedule.advance(10)
    there.hung.add(Path("/a"))
    reload = asyncio.create_task(there.apply(B, end_sessions=True))
    await settle()
    assert not reload.done()
    reload.cancel()
    await stop(run)
    there.hung.clear()
    await there.supervisor.end_sessions()
    assert there.ended == there.granted
    assert there.files == {}
    assert there.observer.of(SessionEnded) == [SessionEnded(a, Ending.TERMINATED) for a in "ab"]


@pytest.mark.parametrize("turns", range(31))
async def test_a_reload_cancelled_at_any_await_leaves_nothing_behind(turns: int) -> None:
    """No task lives on, and no session that was to be ended is forgotten."""
    there = Machine(A, B, C, turns=2)
    run = asyncio.create_task(there.supervisor.run())
    await there.schedule.advance(10)
    apps = (
        replace(B, endpoint=Endpoint(TWO)),
        an_app("c", "/c", "/a", at=0.6),
        an_app("d", "/d"),
    )
    reload = asyncio.create_task(there.apply(*apps, end_sessions=True))
    for _ in range(turns):
        await asyncio.sleep(0)
    done = reload.done()
    reload.cancel()
    await stop(run)
    await there.supervisor.end_sessions()
    assert there.ended == there.granted
    assert there.files == {}
    assert there.owned == set()
    assert done or turns < 30, "the cuts go through all of it"


async def test_a_large_reload_is_applied_in_batches() -> None:
    """Ten thousand apps that are added, removed or changed must not hold up the loop."""
    names = [f"app-{number}" for number in range(3 * BATCH)]
    async with machine(*(an_app(name) for name in names[: 2 * BATCH])) as there:
        there.equipped.clear()
        apps = [an_app(name, at=0.6) for name in names[BATCH:]]
        reload = asyncio.create_task(there.apply(*apps))
        steps = [0]
        while not reload.done():
            await asyncio.sleep(0)
            steps.append(len(there.equipped))
        assert steps[-1] == 2 * BATCH
        assert max(later - earlier for earlier, later in pairwise(steps)) <= BATCH
        assert there.observer.of(AppCrashed) == []


async def test_a_reload_while_a_large_fleet_starts_waits_for_it() -> None:
    """An app that is to be removed may not have been started yet."""
    apps = [an_app(f"app-{number}") for number in range(BATCH + 1)]
    there = Machine(*apps)
    reload = asyncio.create_task(there.apply(*apps[:-1]))
    async with running(there.supervisor.run()):
        await reload
        await settle()
        assert len(list(there.supervisor.statuses())) == BATCH
        assert len(asyncio.all_tasks()) == 4 + BATCH


async def test_all_apps_may_be_removed_and_others_added() -> None:
    """An empty configuration must not be final."""
    async with machine(A) as there:
        await there.reload()
        await there.reload(B)
        assert there.status("b").session.state is State.FRESH


async def test_refresh_all_reaches_apps_that_a_reload_replaces_meanwhile() -> None:
    """USR1 and HUP may come together, and no app is left out of either."""
    names = [f"app-{number}" for number in range(BATCH + 2)]
    async with machine(*(an_app(name) for name in names)) as there:
        there.supervisor.refresh_all()
        await settle()
        await there.reload(*(an_app(name, at=0.6) for name in names[:-1]))
        await there.schedule.advance(PAUSE)
        assert {one.app for one in there.requests if one.operation == "reauth"} == set(names[:-1])


async def test_a_flood_of_signals_makes_one_attempt_per_retry_min() -> None:
    """A hundred requests a second become one attempt a second."""
    async with machine(A, B) as there:
        before = len(there.requests)
        for _ in range(500):
            there.supervisor.refresh_all()
            await there.schedule.advance(0.01)
        assert len(there.requests) - before == 2 * 5


async def test_a_request_before_the_start_or_after_the_end_is_harmless() -> None:
    """Signals may come at any time."""
    there = Machine(A)
    there.supervisor.refresh_all()
    async with running(there.supervisor.run()):
        await there.schedule.advance(10)
        assert len(there.requests) == 1, "the first login serves"
    there.supervisor.refresh_all()
    await settle()
    assert len(asyncio.all_tasks()) == 1


PATHS = ("/1", "/2", "/3")


@st.composite
def configurations(draw: st.DrawFn) -> tuple[App, ...]:
    """Draw apps with files of their own, as a valid configuration has them."""
    names = draw(st.permutations(["a", "b", "c"]))[: draw(st.integers(0, 3))]
    owners = {path: draw(st.sampled_from([*names, ""])) for path in PATHS}
    return tuple(
        an_app(
            name,
            *(path for path, owner in owners.items() if owner == name),
            url=draw(st.sampled_from([ONE, TWO])),
            key=draw(st.sampled_from(["", "other"])),
            at=draw(st.sampled_from([0.3, 0.5])),
        )
        for name in names
    )


@dataclass(frozen=True, slots=True)
class Episode:
    """A time in which something may be wrong, and the reload that ends it."""

    lasts: float
    hanging: frozenset[str]
    stuck: frozenset[Path]
    apps: tuple[App, ...]
    end_sessions: bool


EPISODES = st.builds(
    Episode,
    st.sampled_from([0.0, 0.5, 100.0, 400.0]),
    st.frozensets(st.sampled_from([ONE, TWO]), max_size=1),
    st.frozensets(st.sampled_from(PATHS).map(Path), max_size=1),
    configurations(),
    st.booleans(),
)


@settings(deadline=None)
@given(configurations(), st.lists(EPISODES, min_size=1, max_size=5))
def test_after_any_reloads_the_configured_apps_run_and_no_other_was_affected(
    first: tuple[App, ...], episodes: list[Episode]
) -> None:
    """In any order, and whatever hangs or fails meanwhile."""
    asyncio.run(lived(Machine(*first), episodes))


async def lived(there: Machine, episodes: list[Episode]) -> None:
    """Go through the episodes; in the end nothing is wrong any more."""
    async with running(there.supervisor.run()):
        for episode in episodes:
            there.hanging, there.stuck = set(episode.hanging), set(episode.stuck)
            await there.schedule.advance(episode.lasts)
            await reloaded(there, episode)
        there.hanging.clear()
        there.stuck.clear()
        await there.schedule.advance(60)
        assert there.observer.of(AppCrashed) == []
        for app in there.apps:
            status = there.status(app.name)
            assert readiness.reasons(status, there.clock.now()) == ()
            assert all(there.files[spec.path] == status.session.token for spec in app.files)
        assert len(asyncio.all_tasks()) == 4 + len(there.apps)
        assert there.owned == {spec.path for app in there.apps for spec in app.files}


async def reloaded(there: Machine, episode: Episode) -> None:
    """Reload as an episode ends, and check that no unchanged app was affected."""
    before = {app.name: (app, there.status(app.name)) for app in there.apps}
    there.written.clear()
    requests = await there.reload(*episode.apps, end_sessions=episode.end_sessions)
    names = [app.name for app in episode.apps]
    assert [status.name for status in there.supervisor.statuses()] == names
    for app in episode.apps:
        old, status = before.get(app.name, (None, None))
        if status is not None:
            assert there.status(app.name).session.generation >= status.session.generation
        if app == old:
            assert app.name not in {one.app for one in requests}
            assert not {spec.path for spec in app.files} & set(there.written)
            assert there.status(app.name) == status
