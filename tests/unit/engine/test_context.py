"""The newest session state reaches every watcher, and a watcher that left costs nothing."""

import asyncio
import gc
import weakref
from dataclasses import replace

from refresherd.domain import session_state
from refresherd.domain.model import Instant
from refresherd.engine.context import StateCell
from support.fakes import settle

STARTING = session_state.begin(Instant(1000))


def test_a_reader_sees_what_was_published_last() -> None:
    """Consumers must never be handed an older token than the newest."""
    cell = StateCell(STARTING)
    first = cell.version
    second, third = replace(STARTING, generation=2), replace(STARTING, generation=3)
    assert cell.session is STARTING
    cell.publish(second)
    cell.publish(third)
    assert cell.session is third
    assert cell.version > first


async def test_a_watcher_that_is_behind_does_not_wait() -> None:
    """An output that was busy when a token came must not sleep through it."""
    cell = StateCell(STARTING)
    assert await cell.changed(0) == cell.version


async def test_every_watcher_is_woken_by_a_change() -> None:
    """File, socket and API watch the same app, and none may miss a token."""
    cell = StateCell(STARTING)
    watchers = [asyncio.create_task(cell.changed(cell.version)) for _ in range(3)]
    await settle()
    assert not any(watcher.done() for watcher in watchers)
    cell.publish(replace(STARTING, generation=1))
    assert await asyncio.gather(*watchers) == [cell.version] * 3


async def test_a_slow_watcher_sees_only_the_newest() -> None:
    """A slow output must write the newest token, not all that it missed."""
    cell = StateCell(STARTING)
    watcher = asyncio.create_task(cell.changed(cell.version))
    await settle()
    for generation in range(1, 4):
        cell.publish(replace(STARTING, generation=generation))
    seen = await watcher
    assert (seen, cell.session.generation) == (cell.version, 3)
    again = asyncio.create_task(cell.changed(seen))
    await settle()
    assert not again.done()
    again.cancel()


async def test_a_watcher_that_waits_for_a_later_version_sleeps_on() -> None:
    """An earlier version must not wake it."""
    cell = StateCell(STARTING)
    watcher = asyncio.create_task(cell.changed(cell.version + 1))
    await settle()
    cell.publish(STARTING)
    await settle()
    assert not watcher.done()
    cell.publish(STARTING)
    assert await watcher == cell.version


async def test_a_watcher_that_leaves_as_a_change_comes_harms_nobody() -> None:
    """A client may hang up in the very iteration of the loop in which a token arrives."""
    cell = StateCell(STARTING)
    leaving, staying = (asyncio.create_task(cell.changed(cell.version)) for _ in range(2))
    await settle()
    leaving.cancel()
    cell.publish(replace(STARTING, generation=1))
    assert await staying == cell.version
    await asyncio.wait([leaving])
    assert leaving.cancelled()


async def test_watchers_that_left_use_no_memory() -> None:
    """Clients come and go for months on an app whose token never changes."""
    cell = StateCell(STARTING)
    watcher = asyncio.create_task(cell.changed(cell.version))
    await settle()
    watcher.cancel()
    await asyncio.wait([watcher])
    gone = weakref.ref(watcher)
    del watcher
    gc.collect()
    assert gone() is None
    # What a watcher leaves behind cannot be seen from outside but as memory.
    assert not cell._watchers


async def test_closing_wakes_every_watcher() -> None:
    """The state of a removed app does not change any more, so they would wait for ever."""
    cell = StateCell(STARTING)
    watchers = [asyncio.create_task(cell.changed(since)) for since in (cell.version, 1000)]
    await settle()
    closed = [cell.closed]
    cell.close()
    closed.append(cell.closed)
    assert closed == [False, True]
    assert await asyncio.gather(*watchers) == [cell.version] * 2
    assert await cell.changed(cell.version) == cell.version
