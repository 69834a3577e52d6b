"""The heap of deadlines against a sorted list, and its size after any number who left."""

from dataclasses import dataclass, field
from math import inf, nan

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from refresherd.adapters.scheduling.deadlines import AWAKE, TOLERATED, Deadlines
from refresherd.domain.model import Instant
from refresherd.domain.session_state import NEVER

INSTANTS = st.one_of(
    st.integers(0, 20).map(float), st.floats(0, 1e10), st.sampled_from([0.0, inf])
).map(Instant)


@dataclass(slots=True, eq=False)
class Sleeper:
    """A sleeper and nothing else."""

    ticket: int = field(default=AWAKE)


class DeadlinesMachine(RuleBasedStateMachine):
    """Sleepers come, leave and are woken, in the heap and in a sorted list alike."""

    sleepers = Bundle("sleepers")

    def __init__(self) -> None:
        super().__init__()
        self.deadlines: Deadlines[Sleeper] = Deadlines()
        self.model: list[tuple[Instant, Sleeper]] = []

    @rule(target=sleepers, at=INSTANTS)
    def fall_asleep(self, at: Instant) -> Sleeper:
        """Add a sleeper, which is first only if it is before all others."""
        return self._add(at, Sleeper())

    @rule(target=sleepers, at=INSTANTS, sleeper=consumes(sleepers))
    def fall_asleep_again(self, at: Instant, sleeper: Sleeper) -> Sleeper:
        """Use a sleeper again that left or was woken: its old entry must stay dead."""
        self.leave(sleeper)
        return self._add(at, sleeper)

    @rule(sleeper=sleepers)
    def leave(self, sleeper: Sleeper) -> None:
        """Discard a sleeper, which may be awake already."""
        self.deadlines.discard(sleeper)
        self.model = [entry for entry in self.model if entry[1] is not sleeper]

    @rule(now=INSTANTS, limit=st.integers(1, 5))
    def wake(self, now: Instant, limit: int) -> None:
        """Take those who are due: the soonest first, and who came first among equals."""
        due = [sleeper for at, sleeper in self.model if at <= now][:limit]
        assert self.deadlines.pop_due(now, limit) == due
        self.model = [entry for entry in self.model if entry[1] not in due]

    @rule(at=INSTANTS, size=st.sampled_from([1, TOLERATED, 3 * TOLERATED]))
    def come_and_go(self, at: Instant, size: int) -> None:
        """Have a crowd come, and leave before it is due."""
        quota = [Sleeper() for _ in range(size)]
        for sleeper in quota:
            self.deadlines.add(at, sleeper)
        for sleeper in quota:
            self.deadlines.discard(sleeper)

    @invariant()
    def agrees(self) -> None:
        """Compare the heads; dead entries never outnumber the living by much."""
        assert self.deadlines.head == (self.model[0][0] if self.model else NEVER)
        assert len(self.deadlines) <= 2 * len(self.model) + TOLERATED

    def _add(self, at: Instant, sleeper: Sleeper) -> Sleeper:
        sooner = all(at < other for other, _ in self.model) and at < NEVER
        assert self.deadlines.add(at, sleeper) is sooner
        self.model.append((at, sleeper))
        self.model.sort(key=lambda entry: entry[0])
        return sleeper


test_the_heap_behaves_like_a_sorted_list = DeadlinesMachine.TestCase
test_the_heap_behaves_like_a_sorted_list.settings = settings(max_examples=40)


def test_any_number_who_left_leave_nothing() -> None:
    """Each attempt of each app may cancel a wait, for months."""
    deadlines: Deadlines[Sleeper] = Deadlines()
    staying = [Sleeper() for _ in range(10)]
    for number, sleeper in enumerate(staying):
        deadlines.add(Instant(1e6 + number), sleeper)
    for number in range(100_000):
        leaving = Sleeper()
        deadlines.add(Instant(number), leaving)
        deadlines.discard(leaving)
    assert len(deadlines) <= 2 * len(staying) + TOLERATED
    assert deadlines.pop_due(Instant(2e6), 100) == staying


def test_many_who_leave_at_once_are_dropped_as_they_go() -> None:
    """A reload may stop thousands of apps; what they held must go, and the order stay."""
    deadlines: Deadlines[Sleeper] = Deadlines()
    quota = {(number * 7919) % 10_000: Sleeper() for number in range(10_000)}
    for instant, sleeper in quota.items():
        deadlines.add(Instant(instant), sleeper)
    staying = [quota[instant] for instant in range(0, 10_000, 10)]
    for sleeper in set(quota.values()) - set(staying):
        deadlines.discard(sleeper)
    assert len(deadlines) <= 2 * len(staying) + TOLERATED
    assert deadlines.pop_due(Instant(1e6), 10_000) == staying


def test_those_who_left_do_not_outlast_those_who_stayed() -> None:
    """Deadlines far off, given up long ago, would else stay for as long as they were set."""
    deadlines: Deadlines[Sleeper] = Deadlines()
    staying, leaving = ([Sleeper() for _ in range(1000)] for _ in range(2))
    for number, (stays, leaves) in enumerate(zip(staying, leaving, strict=True)):
        deadlines.add(Instant(number), stays)
        deadlines.add(Instant(1e6), leaves)
    for sleeper in leaving:
        deadlines.discard(sleeper)
    assert deadlines.pop_due(Instant(1000), 1000) == staying
    assert len(deadlines) <= TOLERATED


def test_a_deadline_that_is_no_number_is_refused() -> None:
    """It is neither before nor after any other: one app's bug would disorder all alarms."""
    deadlines: Deadlines[Sleeper] = Deadlines()
    with pytest.raises(ValueError, match="number"):
        deadlines.add(Instant(nan), Sleeper())
    assert deadlines.head == NEVER
