"""One alarm: when its sleeper wakes, and what a ring or a cancellation leaves behind."""

import asyncio

import pytest

from refresherd.adapters.scheduling.alarms import BootAlarm
from refresherd.adapters.scheduling.deadlines import Deadlines
from refresherd.domain.model import Instant
from support.fakes import settle

SOON = Instant(10)
LATER = Instant(20)


class Bed:
    """An alarm, its heap, and how often the heap's head was told to have moved."""

    def __init__(self) -> None:
        self.deadlines: Deadlines[BootAlarm] = Deadlines()
        self.moves = 0
        self.alarm = self.another()

    def another(self) -> BootAlarm:
        """Return one more alarm on the same heap."""
        return BootAlarm(self.deadlines, self._moved)

    def _moved(self) -> None:
        self.moves += 1

    async def asleep(self, until: Instant = SOON) -> asyncio.Task[None]:
        """Return a sleeper that has fallen asleep."""
        sleeper = asyncio.create_task(self.alarm.wait(until))
        await settle()
        assert not sleeper.done()
        return sleeper

    def strike(self, now: Instant) -> None:
        """Wake whoever is due."""
        for alarm in self.deadlines.pop_due(now, 64):
            alarm.wake()


async def test_a_sleeper_wakes_when_it_is_due() -> None:
    """Neither before, nor never."""
    bed = Bed()
    sleeper = await bed.asleep(SOON)
    bed.strike(Instant(9.999))
    await settle()
    assert not sleeper.done()
    bed.strike(SOON)
    await sleeper
    await bed.asleep(LATER)


async def test_only_a_sooner_deadline_is_told() -> None:
    """Aiming APScheduler anew costs more than all else, so it is told only what matters."""
    bed = Bed()
    for until in (LATER, SOON, SOON, LATER):
        bed.alarm = bed.another()
        await bed.asleep(until)
    assert bed.moves == 2


async def test_a_ring_wakes_the_sleeper_now() -> None:
    """`refresh` must not wait for the next renewal."""
    bed = Bed()
    sleeper = await bed.asleep()
    bed.alarm.ring()
    await sleeper
    assert bed.deadlines.head > LATER
    await bed.asleep()


async def test_a_ring_while_awake_is_remembered_once() -> None:
    """A refresh that is asked for during an attempt must not be lost, nor done over and over."""
    bed = Bed()
    bed.alarm.ring()
    bed.alarm.ring()
    await bed.alarm.wait(SOON)
    await bed.asleep()


async def test_rings_before_the_sleeper_is_up_count_as_one() -> None:
    """Many clients may ask for a refresh in the same moment."""
    bed = Bed()
    sleeper = await bed.asleep()
    bed.alarm.ring()
    bed.alarm.ring()
    bed.strike(SOON)
    await sleeper
    await bed.asleep()


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    """Stopping an app must leave neither an alarm that goes off nor one that cannot be used."""
    bed = Bed()
    sleeper = await bed.asleep()
    sleeper.cancel()
    bed.strike(SOON)
    await asyncio.wait([sleeper])
    assert sleeper.cancelled()
    assert bed.deadlines.head > LATER
    await bed.asleep()


async def test_a_cancelled_wait_leaves_its_ring_to_the_next() -> None:
    """A wait under a timeout may be cancelled in the moment in which somebody rings."""
    bed = Bed()
    sleeper = await bed.asleep()
    bed.alarm.ring()
    sleeper.cancel()
    await asyncio.wait([sleeper])
    assert sleeper.cancelled()
    await bed.alarm.wait(SOON)
    await bed.asleep()


async def test_a_second_sleeper_is_turned_away() -> None:
    """Two would wake each other's cause away; the first must sleep on."""
    bed = Bed()
    first = await bed.asleep()
    with pytest.raises(RuntimeError, match="one sleeper"):
        await bed.alarm.wait(LATER)
    assert not first.done()
    bed.strike(SOON)
    await first


async def test_any_number_of_cancelled_waits_leaves_nothing_that_grows() -> None:
    """Consumers that give up waiting come by the thousand a day."""
    bed = Bed()
    staying = await bed.asleep(LATER)
    for _ in range(100_000):
        leaving = bed.another().wait(Instant(1e6))
        leaving.send(None)
        with pytest.raises(asyncio.CancelledError):
            leaving.throw(asyncio.CancelledError())
    assert len(bed.deadlines) < 100
    bed.strike(LATER)
    await staying
