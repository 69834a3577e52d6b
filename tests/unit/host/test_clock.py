"""Boot time, wall time and jumps, with made-up readings of the clocks."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.events import ClockJumped
from refresherd.domain.labels import Jump
from refresherd.domain.model import Instant
from refresherd.host.clock import (
    JUMP_SECONDS,
    SAME_SECONDS,
    BootClock,
    JumpDetector,
    Reading,
    read_clocks,
)

TEN_YEARS = 315_576_000.0
START = Reading(boot=5000.0, monotonic=4000.0, wall=1_700_000_000.0)


@dataclass(slots=True)
class Host:
    """A machine whose clocks the test moves."""

    reading: Reading = field(default=START)

    def read(self) -> Reading:
        """Read all clocks."""
        return self.reading

    def gettime(self, clock: int) -> float:
        """Read one clock as clock_gettime(2) does."""
        named = {
            time.CLOCK_BOOTTIME: self.reading.boot,
            time.CLOCK_MONOTONIC: self.reading.monotonic,
            time.CLOCK_REALTIME: self.reading.wall,
        }
        return named[clock]

    def run(self, seconds: float) -> None:
        """Let time pass as usual."""
        self.suspend(seconds)
        self.reading = replace(self.reading, monotonic=self.reading.monotonic + seconds)

    def suspend(self, seconds: float) -> None:
        """Sleep: the monotonic clock stands still."""
        boot, wall = self.reading.boot + seconds, self.reading.wall + seconds
        self.reading = replace(self.reading, boot=boot, wall=wall)

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        self.reading = replace(self.reading, wall=self.reading.wall + seconds)


def interrupted(delays: list[float]) -> Callable[[int], float]:
    """Return the clock_gettime of a process that is delayed before each call."""
    host, waits = Host(), chain(delays, repeat(0.0))

    def gettime(clock: int) -> float:
        host.run(next(waits))
        return host.gettime(clock)

    return gettime


def jumps_between(earlier: Reading, later: Reading) -> tuple[ClockJumped, ...]:
    """Return the jumps that are found between two readings."""
    return JumpDetector(iter((earlier, later)).__next__).jumps()


def boot_clock(host: Host) -> BootClock:
    """Return the daemon's clock on that machine."""
    return BootClock(host.gettime, host.read)


def test_now_is_boot_time() -> None:
    """Expiry is counted in boot time: the others stand still or are set by hand."""
    assert boot_clock(Host()).now() == Instant(5000)


def test_an_instant_is_converted_to_wall_time() -> None:
    """Files and metrics show unix time, for instants in the past and the future."""
    clock = boot_clock(Host())
    assert clock.wall(Instant(5000)) == 1_700_000_000.0
    assert clock.wall(Instant(4400)) == 1_699_999_400.0
    assert clock.wall(Instant(5600)) == 1_700_000_600.0


@given(st.lists(st.floats(-SAME_SECONDS / 2.1, SAME_SECONDS / 2.1), min_size=2))
def test_an_instant_keeps_its_wall_time_in_noise(noise: list[float]) -> None:
    """An expiry that flaps would change files and fire alerts for nothing."""
    host = Host()
    clock = boot_clock(host)
    before = clock.wall(Instant(5600))
    for seconds in noise:
        host.run(60.0)
        host.reading = replace(host.reading, wall=host.reading.boot + 1_699_995_000 + seconds)
        assert clock.wall(Instant(5600)) == before


@given(st.floats(-TEN_YEARS, TEN_YEARS).filter(lambda step: abs(step) > SAME_SECONDS + 1e-6))
def test_a_step_of_the_wall_clock_is_followed(step: float) -> None:
    """Times shown to people must agree with the clock on their wall."""
    host = Host()
    clock = boot_clock(host)
    before = clock.wall(Instant(5600))
    host.step(step)
    assert clock.wall(Instant(5600)) == pytest.approx(before + step, abs=1e-5)


def test_small_steps_add_up() -> None:
    """A clock that drifts slowly must be followed, too."""
    host = Host()
    clock = boot_clock(host)
    for _ in range(100):
        host.step(0.02)
        assert abs(clock.wall(clock.now()) - host.reading.wall) <= SAME_SECONDS + 1e-6


def test_a_suspend_moves_no_instant() -> None:
    """Boot time and wall time sleep together."""
    host = Host()
    clock = boot_clock(host)
    before = clock.wall(Instant(5600))
    host.suspend(7200.0)
    assert clock.now() == Instant(12_200)
    assert clock.wall(Instant(5600)) == before


class Seconds:
    """Strategies for what happens to a machine's clocks between two looks."""

    ordinary = st.tuples(st.just("run"), st.floats(0, 1e5))
    suspend = st.tuples(st.just("suspend"), st.floats(JUMP_SECONDS * 1.01, 1e8))
    nap = st.tuples(st.just("nap"), st.floats(0, JUMP_SECONDS * 0.99))
    step = st.tuples(
        st.just("step"),
        st.floats(JUMP_SECONDS * 1.01, TEN_YEARS).flatmap(lambda s: st.sampled_from([s, -s])),
    )
    looks = st.lists(st.lists(st.one_of(ordinary, suspend, nap, step), max_size=3), max_size=8)


@given(Seconds.looks)
def test_every_jump_is_reported_as_what_it_is(looks: list[list[tuple[str, float]]]) -> None:
    """A suspend mistaken for a step, or missed, sends an operator looking in the wrong place."""
    host = Host()
    detector = JumpDetector(host.read)
    for happenings in looks:
        slept = stepped = 0.0
        for kind, seconds in happenings:
            if kind == "run":
                host.run(seconds)
            elif kind == "step":
                host.step(seconds)
                stepped += seconds
            else:
                host.suspend(seconds)
                slept += seconds
        found = {jump.kind: jump.seconds for jump in detector.jumps()}
        expected = {}
        if slept > JUMP_SECONDS:
            expected[Jump.SUSPEND] = slept
        if abs(stepped) > JUMP_SECONDS:
            expected[Jump.STEP] = stepped
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_jump_is_reported_once() -> None:
    """Otherwise the counter would show a suspend each second."""
    host = Host()
    detector = JumpDetector(host.read)
    host.suspend(30.0)
    assert detector.jumps() == (ClockJumped(Jump.SUSPEND, 30.0),)
    host.run(1.0)
    assert detector.jumps() == ()


def test_a_dead_clock_battery_is_a_suspend_and_a_step() -> None:
    """Some machines wake with the wall clock where it was when they fell asleep."""
    asleep = replace(START, boot=START.boot + 60)
    assert jumps_between(START, asleep) == (
        ClockJumped(Jump.SUSPEND, 60.0),
        ClockJumped(Jump.STEP, -60.0),
    )


@given(st.integers(0, 3), st.floats(0.01, 1e5))
def test_being_held_up_between_two_clocks_is_no_jump(call: int, seconds: float) -> None:
    """A busy host stops a process anywhere, for longer than a jump has to be."""
    reading = read_clocks(interrupted([0.0] * call + [seconds]))
    assert jumps_between(START, reading) == ()


def test_reading_ends_even_if_it_is_always_interrupted() -> None:
    """An imprecise reading is better than a daemon that reads clocks for ever."""
    reading = read_clocks(interrupted([0.01] * 1000))
    assert reading.wall - reading.boot == pytest.approx(1_699_995_000, abs=0.1)
