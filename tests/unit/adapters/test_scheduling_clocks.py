"""The schedule on a simulated machine that is suspended, and whose clocks are set."""

import asyncio
from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresherd.domain.events import ClockJumped, LoopLagged
from refresherd.domain.labels import Jump
from refresherd.domain.model import Instant
from refresherd.engine.liveness import HEARTBEAT_SECONDS
from support.simulation import Machine, simulate

TEN_YEARS = 315_576_000.0
PROMPT = 0.005
"""How late an alarm may be if nothing happens to the clocks: APScheduler's own resolution."""

MonotonicTime = float


async def lateness(
    machine: Machine,
    deadlines: list[float],
    jumps: list[tuple[float, Callable[[], None]]],
    seconds: float,
) -> list[float]:
    """Return how late each alarm went off, in seconds during which the machine was awake.

    Deadlines are in seconds of boot time from now, and jumps happen after so many seconds of
    monotonic time. An alarm that never went off is infinitely late.
    """
    schedule, start = machine.schedule(), machine.boot
    late = [inf for _ in deadlines]
    timetable: list[tuple[MonotonicTime, float]] = [(machine.monotonic, machine.boot)]

    def jump(happens: Callable[[], None]) -> None:
        happens()
        timetable.append((machine.monotonic, machine.boot))

    async def wait(number: int, deadline: float) -> None:
        await schedule.alarm().wait(Instant(start + deadline))
        assert machine.boot >= start + deadline
        late[number] = machine.monotonic - due_at(timetable, start + deadline)

    loop = asyncio.get_running_loop()
    for delay, happens in jumps:
        loop.call_later(delay, jump, happens)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(schedule.run())]
        running += [tasks.create_task(wait(*entry)) for entry in enumerate(deadlines)]
        await asyncio.sleep(seconds)
        for task in running:
            task.cancel()
    return late


def due_at(timetable: list[tuple[MonotonicTime, float]], deadline: float) -> MonotonicTime:
    """Return the first monotonic time at which boot time had reached the deadline."""
    for (monotonic, boot), (later, _) in zip(timetable, [*timetable[1:], (inf, inf)], strict=True):
        reached = monotonic + max(0.0, deadline - boot)
        if reached < later:
            return reached
    raise AssertionError


def test_alarms_are_prompt_if_nothing_happens_to_the_clocks() -> None:
    """A renewal at half of a short lifetime leaves no time to waste."""
    machine = Machine()
    deadlines = [-5.0, 0.0, 0.0001, 0.3, 1.0, 1.0, 2.9, 59.9]

    async def main() -> None:
        late = await lateness(machine, deadlines, [], 61.0)
        assert max(late[1:]) <= PROMPT
        assert machine.observer.of(ClockJumped) == []

    simulate(machine, main())


JUMPS = st.one_of(
    st.tuples(st.just("suspend"), st.floats(0.01, 1e6)),
    st.tuples(st.just("step"), st.floats(-TEN_YEARS, TEN_YEARS)),
    st.tuples(st.just("step"), st.floats(-2.0, 2.0)),
)


@settings(max_examples=150)
@given(
    st.lists(st.floats(0, 30), min_size=1, max_size=8),
    st.lists(st.tuples(st.floats(0, 30), JUMPS), max_size=4),
)
def test_no_jump_makes_an_alarm_early_or_late(
    deadlines: list[float], planned: list[tuple[float, tuple[str, float]]]
) -> None:
    """A suspend or a step of the wall clock delays an alarm by one heartbeat at most."""
    machine = Machine()

    def happens(kind: str, seconds: float) -> Callable[[], None]:
        return lambda: machine.suspend(seconds) if kind == "suspend" else machine.step(seconds)

    async def main() -> None:
        jumps = [(delay, happens(*jump)) for delay, jump in planned]
        late = await lateness(machine, deadlines, jumps, 33.0)
        assert max(late) <= HEARTBEAT_SECONDS + PROMPT

    simulate(machine, main())


@pytest.mark.parametrize("seconds", [3600.0, 136 * 365.25 * 86_400])
def test_alarms_that_came_due_in_a_suspend_go_off_within_a_heartbeat(seconds: float) -> None:
    """Apps on a laptop must have tokens again soon after its lid was opened."""
    machine = Machine()

    async def main() -> None:
        deadlines = [seconds * part for part in (0.1, 0.5, 0.9)]
        late = await lateness(machine, deadlines, [(2.5, lambda: machine.suspend(seconds))], 5.0)
        assert max(late) <= HEARTBEAT_SECONDS + PROMPT
        assert machine.observer.of(ClockJumped) == [ClockJumped(Jump.SUSPEND, seconds)]

    simulate(machine, main())


@pytest.mark.parametrize("seconds", [TEN_YEARS, -TEN_YEARS, 3.0, -3.0])
def test_a_step_of_the_wall_clock_is_reported_and_harmless(seconds: float) -> None:
    """The clock of a host that gets its time late in the boot steps by years."""
    machine = Machine()

    async def main() -> None:
        late = await lateness(
            machine, [2.7, 4.0, 100.0], [(2.5, lambda: machine.step(seconds))], 101.0
        )
        assert late[0] <= HEARTBEAT_SECONDS + PROMPT
        assert max(late[1:]) <= PROMPT
        (jump,) = machine.observer.of(ClockJumped)
        assert (jump.kind, round(jump.seconds, 3)) == (Jump.STEP, seconds)

    simulate(machine, main())


@pytest.mark.parametrize(
    "happens", [lambda m: m.step(-TEN_YEARS), lambda m: m.step(-30.0), lambda m: m.suspend(2.0)]
)
def test_an_alarm_that_is_due_well_after_a_jump_is_prompt(
    happens: Callable[[Machine], None],
) -> None:
    """Only alarms that a jump overtakes may be late; for the others the timer is set anew."""
    machine = Machine()

    async def main() -> None:
        late = await lateness(machine, [6.5], [(2.5, lambda: happens(machine))], 7.0)
        assert late[0] <= PROMPT

    simulate(machine, main())


def test_frequent_suspends_are_no_fault() -> None:
    """Alarms that suspends overtake again and again are no fault of APScheduler."""
    machine = Machine()

    async def main() -> None:
        deadlines = [10.0 * number for number in range(1, 13)]
        jumps = [(0.5 + number, lambda: machine.suspend(9.5)) for number in range(12)]
        late = await lateness(machine, deadlines, jumps, 13.0)
        assert max(late) <= HEARTBEAT_SECONDS + PROMPT

    simulate(machine, main())


def test_an_alarm_may_be_set_for_never() -> None:
    """An app may wait for an operator, or have a token that lives for 136 years."""
    machine = Machine()

    async def main() -> None:
        late = await lateness(machine, [inf, 4_294_967_295.0, 1.0], [], 10.0)
        assert late[:2] == [inf, inf]
        assert late[2] <= PROMPT

    simulate(machine, main())


def test_the_lag_of_a_blocked_event_loop_is_reported() -> None:
    """It shows an operator that the host is overloaded. A suspend is not counted as lag."""
    machine = Machine()

    async def main() -> None:
        jumps = [(0.5, lambda: machine.suspend(60)), (2.5, lambda: machine.block(3.0))]
        await lateness(machine, [], jumps, 8.0)
        lags = [event.lag for event in machine.observer.of(LoopLagged)]
        assert lags == pytest.approx([0.0, 0.0, 2.5, 0.0, 0.0])

    simulate(machine, main())
