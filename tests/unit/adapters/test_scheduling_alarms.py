"""Alarms and the heap of their deadlines, which is compared with a sorted list."""

import asyncio
from math import inf, nan

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from refresherd.adapters.scheduling import TOLERATED_ENTRIES, BootAlarm, Deadlines
from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER
from support.fakes import settle

SOON = Instant(10)
LATER = Instant(20)


def entries(deadlines: Deadlines) -> int:
    """Return the size of the heap, dead entries included."""
    # Dead entries are visible only as memory.
    return len(deadlines._heap)


class Bench:
    """An alarm, its heap, and how often the soonest deadline moved."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.moves = 0
        self.alarm = self.new_alarm()

    def new_alarm(self) -> BootAlarm:
        """Return one more alarm on the same heap."""
        return BootAlarm(self.deadlines, self._moved)

    def _moved(self) -> None:
        self.moves += 1

    async def waiting(self, until: Instant = SOON) -> asyncio.Task[None]:
        """Return a task that waits for the alarm."""
        task = asyncio.create_task(self.alarm.wait(until))
        await settle()
        assert not task.done()
        return task

    def wake_due(self, now: Instant) -> None:
        """Let the alarms go off that are due."""
        for alarm in self.deadlines.pop_due(now, 64):
            alarm.wake()


async def test_an_alarm_goes_off_when_it_is_due() -> None:
    """It must not go off earlier either."""
    bench = Bench()
    task = await bench.waiting(SOON)
    bench.wake_due(Instant(9.999))
    await settle()
    assert not task.done()
    bench.wake_due(SOON)
    await task
    await bench.waiting(LATER)


async def test_only_a_sooner_deadline_is_reported() -> None:
    """Setting APScheduler's timer is what costs most, so it is done only when needed."""
    bench = Bench()
    for until in (LATER, SOON, SOON, LATER):
        bench.alarm = bench.new_alarm()
        await bench.waiting(until)
    assert bench.moves == 2


async def test_a_ring_ends_the_wait_now() -> None:
    """The command `refresh` must not wait for the next renewal."""
    bench = Bench()
    task = await bench.waiting()
    bench.alarm.ring()
    await task
    assert bench.deadlines.head > LATER
    await bench.waiting()


async def test_rings_without_a_wait_end_the_next_wait_only() -> None:
    """A refresh requested during an attempt must be neither lost nor done repeatedly."""
    bench = Bench()
    bench.alarm.ring()
    bench.alarm.ring()
    await bench.alarm.wait(SOON)
    await bench.waiting()


async def test_rings_before_the_task_runs_count_as_one() -> None:
    """Many clients may request a refresh at the same moment."""
    bench = Bench()
    task = await bench.waiting()
    bench.alarm.ring()
    bench.alarm.ring()
    bench.wake_due(SOON)
    await task
    await bench.waiting()


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    """A stopped app must leave no alarm that goes off, and none that cannot be used again."""
    bench = Bench()
    task = await bench.waiting()
    task.cancel()
    bench.wake_due(SOON)
    await asyncio.wait([task])
    assert task.cancelled()
    assert bench.deadlines.head > LATER
    await bench.waiting()


async def test_a_cancelled_wait_leaves_its_ring_to_the_next() -> None:
    """A wait with a timeout may be cancelled at the moment when somebody rings."""
    bench = Bench()
    task = await bench.waiting()
    bench.alarm.ring()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await bench.alarm.wait(SOON)
    await bench.waiting()


async def test_a_second_task_cannot_wait_for_the_same_alarm() -> None:
    """Either could take the other's ring. The first task goes on waiting."""
    bench = Bench()
    first = await bench.waiting()
    with pytest.raises(RuntimeError, match="one task"):
        await bench.alarm.wait(LATER)
    assert not first.done()
    bench.wake_due(SOON)
    await first


async def test_cancelled_waits_do_not_make_the_heap_grow() -> None:
    """Thousands of consumers a day give up waiting."""
    bench = Bench()
    staying = await bench.waiting(LATER)
    for _ in range(100_000):
        leaving = bench.new_alarm().wait(Instant(1e6))
        leaving.send(None)
        with pytest.raises(asyncio.CancelledError):
            leaving.throw(asyncio.CancelledError())
    assert entries(bench.deadlines) < 100
    bench.wake_due(LATER)
    await staying


INSTANTS = st.one_of(
    st.integers(0, 20).map(float), st.floats(0, 1e10), st.sampled_from([0.0, inf])
).map(Instant)


def alarm_in(deadlines: Deadlines) -> BootAlarm:
    """Return an alarm that nobody waits for."""
    return BootAlarm(deadlines, lambda: None)


class DeadlinesMachine(RuleBasedStateMachine):
    """Sets and cancels alarms in the heap and in a sorted list, and compares the two."""

    alarms = Bundle("alarms")

    def __init__(self) -> None:
        super().__init__()
        self.deadlines = Deadlines()
        self.model: list[tuple[Instant, BootAlarm]] = []

    @rule(target=alarms, at=INSTANTS)
    def set_new(self, at: Instant) -> BootAlarm:
        """Set a new alarm."""
        return self._add(at, alarm_in(self.deadlines))

    @rule(target=alarms, at=INSTANTS, alarm=consumes(alarms))
    def set_again(self, at: Instant, alarm: BootAlarm) -> BootAlarm:
        """Set an alarm again after it was cancelled or went off; its old entry stays dead."""
        self.cancel(alarm)
        return self._add(at, alarm)

    @rule(alarm=alarms)
    def cancel(self, alarm: BootAlarm) -> None:
        """Cancel an alarm, which may have gone off already."""
        self.deadlines.discard(alarm)
        self.model = [entry for entry in self.model if entry[1] is not alarm]

    @rule(now=INSTANTS, limit=st.integers(1, 5))
    def wake(self, now: Instant, limit: int) -> None:
        """Take the due alarms by deadline; of equal ones, the one that was set first."""
        due = [alarm for at, alarm in self.model if at <= now][:limit]
        assert self.deadlines.pop_due(now, limit) == due
        self.model = [entry for entry in self.model if entry[1] not in due]

    @rule(at=INSTANTS, size=st.sampled_from([1, TOLERATED_ENTRIES, 3 * TOLERATED_ENTRIES]))
    def set_and_cancel(self, at: Instant, size: int) -> None:
        """Set alarms, and cancel them before they are due."""
        alarms = [alarm_in(self.deadlines) for _ in range(size)]
        for alarm in alarms:
            self.deadlines.add(at, alarm)
        for alarm in alarms:
            self.deadlines.discard(alarm)

    @invariant()
    def agrees(self) -> None:
        """Compare the heads; dead entries never outnumber the live ones by much."""
        assert self.deadlines.head == (self.model[0][0] if self.model else NEVER)
        assert entries(self.deadlines) <= 2 * len(self.model) + TOLERATED_ENTRIES

    def _add(self, at: Instant, alarm: BootAlarm) -> BootAlarm:
        sooner = all(at < other for other, _ in self.model) and at < NEVER
        assert self.deadlines.add(at, alarm) is sooner
        self.model.append((at, alarm))
        self.model.sort(key=lambda entry: entry[0])
        return alarm


test_the_heap_behaves_like_a_sorted_list = DeadlinesMachine.TestCase
test_the_heap_behaves_like_a_sorted_list.settings = settings(max_examples=40)


def test_cancelled_alarms_leave_no_entries() -> None:
    """Each attempt of each app may cancel a wait, over months."""
    deadlines = Deadlines()
    staying = [alarm_in(deadlines) for _ in range(10)]
    for number, alarm in enumerate(staying):
        deadlines.add(Instant(1e6 + number), alarm)
    for number in range(100_000):
        leaving = alarm_in(deadlines)
        deadlines.add(Instant(number), leaving)
        deadlines.discard(leaving)
    assert entries(deadlines) <= 2 * len(staying) + TOLERATED_ENTRIES
    assert deadlines.pop_due(Instant(2e6), 100) == staying


def test_many_alarms_that_are_cancelled_together_leave_no_entries() -> None:
    """A reload may stop thousands of apps, after which the others' order must be the same."""
    deadlines = Deadlines()
    alarms = {(number * 7919) % 10_000: alarm_in(deadlines) for number in range(10_000)}
    for instant, alarm in alarms.items():
        deadlines.add(Instant(instant), alarm)
    staying = [alarms[instant] for instant in range(0, 10_000, 10)]
    for alarm in set(alarms.values()) - set(staying):
        deadlines.discard(alarm)
    assert entries(deadlines) <= 2 * len(staying) + TOLERATED_ENTRIES
    assert deadlines.pop_due(Instant(1e6), 10_000) == staying


def test_entries_of_cancelled_alarms_do_not_outlast_the_others() -> None:
    """Otherwise distant deadlines would stay in the heap although they were cancelled long ago."""
    deadlines = Deadlines()
    staying, leaving = ([alarm_in(deadlines) for _ in range(1000)] for _ in range(2))
    for number, (stays, leaves) in enumerate(zip(staying, leaving, strict=True)):
        deadlines.add(Instant(number), stays)
        deadlines.add(Instant(1e6), leaves)
    for alarm in leaving:
        deadlines.discard(alarm)
    assert deadlines.pop_due(Instant(1000), 1000) == staying
    assert entries(deadlines) <= TOLERATED_ENTRIES


def test_a_deadline_that_is_not_a_number_is_refused() -> None:
    """NaN is neither before nor after any deadline, so one app's bug would disorder all alarms."""
    deadlines = Deadlines()
    with pytest.raises(ValueError, match="number"):
        deadlines.add(Instant(nan), alarm_in(deadlines))
    assert deadlines.head == NEVER
