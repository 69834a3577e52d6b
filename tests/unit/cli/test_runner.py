"""A program kept running: what signals, tokens and its own end lead to, by a kernel of paper."""

from collections import deque
from collections.abc import Mapping, Sequence
from signal import Signals

import pytest

from refresherd.cli.child.processes import FORWARDED, KNOCK, Caught
from refresherd.cli.child.runner import GRACE, Runner
from refresherd.cli.client.failures import NotStarted
from refresherd.cli.exits import Exit

PROGRAM = ("server", "--port", "1")

CHILD_ENDED = Caught(Signals.SIGCHLD)


class Paper:
    """A kernel that does as it is told: `happens` is what comes, in order.

    An int is the exit status with which the newest child ends. `log` is what was done.
    """

    def __init__(self, *happens: Caught | str | float) -> None:
        self.happens = deque(happens)
        self.log: list[str] = []
        self.tokens: deque[Mapping[str, str]] = deque()
        self.missing_from = 99
        self._now = 100.0
        self._children = 0
        self._ended: int | None = None

    def now(self) -> float:
        """Return the time."""
        return self._now

    def start(self, program: Sequence[str], environ: Mapping[str, str]) -> int:
        """Start a program, unless it is missing by now."""
        assert program == PROGRAM
        self._children += 1
        if self._children >= self.missing_from:
            raise NotStarted("server: there is no such program", Exit.NOT_FOUND)
        self.log.append(f"start {self._children} with {environ['T']}")
        return self._children

    def wait(self, timeout: float | None) -> Caught | None:
        """Return what happens next; a string is a token's coming, a float time that passes."""
        event = self.happens.popleft()
        if isinstance(event, Caught):
            return event
        if isinstance(event, str):
            self.tokens.append({"T": event})
            return Caught(KNOCK)
        if isinstance(event, int):
            self._ended = event
            return CHILD_ENDED
        assert timeout is not None
        self._now += event
        return None if event >= timeout else self.wait(timeout - event)

    def kill(self, pid: int, number: Signals) -> None:
        """Note a signal."""
        self.log.append(f"{number.name} to {pid}")

    def reap(self, pid: int) -> int | None:
        """Return the exit status of the newest child if it has ended."""
        assert pid == self._children
        status, self._ended = self._ended, None
        return status

    def end(self, status: int) -> None:
        """End the newest child without telling anybody."""
        self._ended = status

    def newest(self) -> Mapping[str, str] | None:
        """Return the newest token's environment."""
        newest = self.tokens.pop() if self.tokens else None
        self.tokens.clear()
        return newest


def run(kernel: Paper, on_refresh: Signals | None = None) -> int:
    """Run the program to its end; nothing may be left to happen."""
    status = Runner(kernel, PROGRAM, on_refresh, kernel.newest).run({"T": "a"})
    assert not kernel.happens
    return status


def test_a_program_that_ends_by_itself_is_the_end() -> None:
    """Its exit status is the command's."""
    kernel = Paper(7)
    assert run(kernel) == 7
    assert kernel.log == ["start 1 with a"]


def test_a_new_token_restarts_it() -> None:
    """Its environment can't be changed from outside; a new process gets a new one."""
    kernel = Paper("b", 143, "c", 0, 5)
    assert run(kernel) == 5
    assert kernel.log == [
        "start 1 with a",
        "SIGTERM to 1",
        "start 2 with b",
        "SIGTERM to 2",
        "start 3 with c",
    ]


def test_a_program_that_ignores_term_is_killed_after_the_grace() -> None:
    """A token that runs out is worse than a process that is not asked twice."""
    kernel = Paper("b", GRACE, 137, 0)
    assert run(kernel) == 0
    assert kernel.log == ["start 1 with a", "SIGTERM to 1", "SIGKILL to 1", "start 2 with b"]


def test_the_grace_is_counted_from_term() -> None:
    """Signals that come meanwhile don't lengthen it."""
    kernel = Paper("b", 6.0, Caught(Signals.SIGUSR1), 4.0, 137, 0)
    assert run(kernel) == 0
    assert kernel.log[1:4] == ["SIGTERM to 1", "SIGUSR1 to 1", "SIGKILL to 1"]


def test_a_token_that_comes_during_a_restart_is_the_one_it_gets() -> None:
    """One restart serves both."""
    kernel = Paper("b", "c", 143, 0)
    assert run(kernel) == 0
    assert kernel.log == ["start 1 with a", "SIGTERM to 1", "start 2 with c"]


def test_a_knock_without_a_new_token_does_nothing() -> None:
    """Two tokens in a hurry knock twice."""
    kernel = Paper(Caught(KNOCK), 0)
    assert run(kernel) == 0
    assert kernel.log == ["start 1 with a"]


def test_a_program_that_had_ended_before_the_token_came_is_not_started_again() -> None:
    """Its end may not have been told yet; it ended by itself all the same."""
    kernel = Paper("b")
    kernel.end(3)
    assert run(kernel) == 3
    assert kernel.log == ["start 1 with a"]


def test_a_new_token_is_a_signal_where_that_is_asked_for() -> None:
    """A program that can fetch its token needs only the hint."""
    kernel = Paper("b", "c", 0)
    assert run(kernel, Signals.SIGHUP) == 0
    assert kernel.log == ["start 1 with a", "SIGHUP to 1", "SIGHUP to 1"]


@pytest.mark.parametrize("number", sorted(FORWARDED))
def test_signals_go_on_to_the_program(number: Signals) -> None:
    """A service manager knows only the process that it started."""
    kernel = Paper(Caught(number), 0)
    assert run(kernel) == 0
    assert kernel.log == ["start 1 with a", f"{number.name} to 1"]


@pytest.mark.parametrize("number", [Signals.SIGINT, Signals.SIGQUIT, Signals.SIGWINCH])
def test_a_key_on_the_terminal_is_not_doubled(number: Signals) -> None:
    """The terminal has sent it to the program already, to which a second Ctrl-C means `now`."""
    kernel = Paper(Caught(number, from_kernel=True), 130)
    assert run(kernel) == 130
    assert kernel.log == ["start 1 with a"]


@pytest.mark.parametrize("number", [Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT])
def test_a_program_that_was_told_to_end_is_not_started_again(number: Signals) -> None:
    """A stop that takes its time may meet a refresh, in either order."""
    first = Paper(Caught(number), "b", 0)
    assert run(first) == 0
    assert first.log == ["start 1 with a", f"{number.name} to 1"]
    then = Paper("b", Caught(number), 0)
    assert run(then) == 0
    assert then.log == ["start 1 with a", "SIGTERM to 1", f"{number.name} to 1"]


def test_another_processs_end_is_not_the_programs() -> None:
    """As process 1 of a container it inherits orphans."""
    kernel = Paper(CHILD_ENDED, 0)
    assert run(kernel) == 0


def test_a_program_that_is_gone_at_a_restart_is_told() -> None:
    """An upgrade may have moved it."""
    kernel = Paper("b", 143)
    kernel.missing_from = 2
    with pytest.raises(NotStarted, match="no such program"):
        run(kernel)
