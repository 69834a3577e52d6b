"""What signals, new tokens and a program's own end lead to, on scripted processes."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from signal import Signals

import pytest

from refresherd.cli.child.processes import CAUGHT, WAKE_UP, Caught, NotExecuted, Processes
from refresherd.cli.child.runner import GRACE, KILL_TIMEOUT, TO_THE_GROUP, Runner

PROGRAM = ("server", "--port", "1")

CHILD_ENDED = Caught(Signals.SIGCHLD)


class ScriptedProcesses(Processes):
    """Processes that do nothing but record calls in `log`. `script` is what happens, in order.

    A string is a new token, a float a number of seconds that pass, and an int the exit status
    with which the newest child ends. `rest` says by which signals what it leaves behind ends.
    """

    def __init__(self, *script: Caught | str | float) -> None:
        super().__init__()
        self.script = deque(script)
        self.log: list[str] = []
        self.offer: Callable[[Mapping[str, str]], None] = print
        self.missing_from = 99
        self.rest: tuple[Signals, ...] = ()
        self._left = False
        self._now = 100.0
        self._children = 0
        self._ended: int | None = None

    def now(self) -> float:
        """Return the time."""
        return self._now

    def start(self, program: Sequence[str], environ: Mapping[str, str]) -> int:
        """Start a program, unless it is missing from this start on."""
        assert program == PROGRAM
        self._children += 1
        if self._children >= self.missing_from:
            raise NotExecuted("server", FileNotFoundError())
        self.log.append(f"start {self._children} with {environ['T']}")
        return self._children

    def wait(self, timeout: float | None) -> Caught | None:
        """Return the next signal of the script."""
        event = self.script.popleft()
        if isinstance(event, Caught):
            return event
        if isinstance(event, str):
            self.offer({"T": event})
            return Caught(WAKE_UP)
        if isinstance(event, int):
            self._ended = event
            self._left = bool(self.rest)
            return CHILD_ENDED
        assert timeout is not None
        self._now += event
        return None if event >= timeout else self.wait(timeout - event)

    def kill(self, pid: int, number: int) -> None:
        """Record a signal."""
        self.log.append(f"{name(number)} to {pid}")

    def kill_all(self, number: int) -> None:
        """Record a signal to the rest, which may end by it."""
        self.log.append(f"{name(number)} to all")
        self._left = self._left and number not in self.rest

    def any_left(self) -> bool:
        """Return whether there is a rest."""
        return self._left

    def reap(self, pid: int) -> int | None:
        """Return the exit status of the newest child if it has ended."""
        assert pid == self._children
        status, self._ended = self._ended, None
        return status

    def end(self, status: int) -> None:
        """End the newest child without a SIGCHLD."""
        self._ended = status

    def wake_up(self) -> None:
        """Do nothing: `wait` returns the wake-up for a token by itself."""


def name(number: int) -> str:
    """Return a signal's name, or the number of one that has no name."""
    return Signals(number).name if number in Signals.__members__.values() else str(number)


def run(processes: ScriptedProcesses, on_refresh: Signals | None = None) -> int:
    """Run the program to its end; the script must be used up."""
    runner = Runner(processes, PROGRAM, on_refresh)
    processes.offer = runner.offer
    status = runner.run({"T": "a"})
    assert not processes.script
    return status


def test_the_programs_end_is_the_end() -> None:
    """Its exit status is the command's."""
    processes = ScriptedProcesses(7)
    assert run(processes) == 7
    assert processes.log == ["start 1 with a"]


def test_a_new_token_restarts_it() -> None:
    """An environment cannot be changed from outside, so a new process gets the new token."""
    processes = ScriptedProcesses("b", 143, "c", 0, 5)
    assert run(processes) == 5
    assert processes.log == [
        "start 1 with a",
        "SIGTERM to 1",
        "start 2 with b",
        "SIGTERM to 2",
        "start 3 with c",
    ]


def test_a_program_that_ignores_term_is_killed_after_the_grace() -> None:
    """An expired token is worse than a process that is killed."""
    processes = ScriptedProcesses("b", GRACE, 137, 0)
    assert run(processes) == 0
    assert processes.log == [
        "start 1 with a",
        "SIGTERM to 1",
        "SIGKILL to 1",
        "SIGKILL to all",
        "start 2 with b",
    ]


def test_the_grace_begins_with_term() -> None:
    """Signals that arrive meanwhile do not lengthen it."""
    processes = ScriptedProcesses("b", 6.0, Caught(Signals.SIGUSR1), 4.0, 137, 0)
    assert run(processes) == 0
    assert processes.log[1:4] == ["SIGTERM to 1", "SIGUSR1 to 1", "SIGKILL to 1"]


def test_a_restart_uses_the_newest_token() -> None:
    """A token that arrives during a restart needs no restart of its own."""
    processes = ScriptedProcesses("b", "c", 143, 0)
    assert run(processes) == 0
    assert processes.log == ["start 1 with a", "SIGTERM to 1", "start 2 with c"]


def test_a_wake_up_without_a_new_token_does_nothing() -> None:
    """Two tokens in quick succession cause two wake-ups."""
    processes = ScriptedProcesses(Caught(WAKE_UP), 0)
    assert run(processes) == 0
    assert processes.log == ["start 1 with a"]


def test_only_the_newer_of_two_tokens_causes_a_restart() -> None:
    """The older one is out of date before the program could have started with it."""
    processes = ScriptedProcesses(Caught(WAKE_UP), Caught(WAKE_UP), 143, 0)
    runner = Runner(processes, PROGRAM, None)
    runner.offer({"T": "b"})
    runner.offer({"T": "c"})
    assert runner.run({"T": "a"}) == 0
    assert processes.log == ["start 1 with a", "SIGTERM to 1", "start 2 with c"]


def test_a_program_that_had_ended_before_the_token_came_is_not_started_again() -> None:
    """It ended by itself, even if its SIGCHLD has not been handled yet."""
    processes = ScriptedProcesses("b")
    processes.end(3)
    assert run(processes) == 3
    assert processes.log == ["start 1 with a"]


def test_a_new_token_can_be_a_signal_instead() -> None:
    """A program that can fetch its token needs only the hint."""
    processes = ScriptedProcesses("b", "c", 0)
    assert run(processes, Signals.SIGHUP) == 0
    assert processes.log == ["start 1 with a", "SIGHUP to 1", "SIGHUP to 1"]


@pytest.mark.parametrize("number", sorted(CAUGHT - {WAKE_UP}))
def test_signals_are_forwarded(number: int) -> None:
    """A service manager knows only the process that it started; some signals have no name."""
    processes = ScriptedProcesses(Caught(number), 0)
    assert run(processes) == 0
    assert processes.log == ["start 1 with a", f"{name(number)} to 1"]


@pytest.mark.parametrize("number", sorted(TO_THE_GROUP))
def test_a_terminals_signal_is_not_sent_twice(number: Signals) -> None:
    """The terminal sent it to the program as well, to which a second Ctrl-C means `now`."""
    processes = ScriptedProcesses(Caught(number, from_kernel=True), 130)
    assert run(processes) == 130
    assert processes.log == ["start 1 with a"]


@pytest.mark.parametrize("number", [Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT])
def test_a_program_that_is_being_stopped_is_not_restarted(number: Signals) -> None:
    """A slow stop and a refresh may come in either order."""
    first = ScriptedProcesses(Caught(number), "b", 0)
    assert run(first) == 0
    assert first.log == ["start 1 with a", f"{number.name} to 1"]
    then = ScriptedProcesses("b", Caught(number), 0)
    assert run(then) == 0
    assert then.log == ["start 1 with a", "SIGTERM to 1", f"{number.name} to 1"]


def test_the_end_of_another_process_is_ignored() -> None:
    """As process 1 of a container, exec inherits orphans."""
    processes = ScriptedProcesses(CHILD_ENDED, 0)
    assert run(processes) == 0


def test_a_restart_ends_what_the_program_has_left_behind() -> None:
    """The server in `sh -c 'server; true'` would live on, and each token would add another."""
    processes = ScriptedProcesses("b", 143, 0)
    processes.rest = (Signals.SIGTERM,)
    assert run(processes) == 0
    assert processes.log == [
        "start 1 with a",
        "SIGTERM to 1",
        "SIGTERM to all",
        "start 2 with b",
        "SIGTERM to all",
    ]


def test_what_is_left_behind_is_killed_after_the_grace() -> None:
    """The exit status is the program's nevertheless."""
    processes = ScriptedProcesses(7, GRACE)
    processes.rest = (Signals.SIGKILL,)
    assert run(processes) == 7
    assert processes.log == ["start 1 with a", "SIGTERM to all", "SIGKILL to all"]


def test_the_grace_of_a_restart_counts_for_what_is_left_behind() -> None:
    """A new token waits for GRACE seconds at most, not for twice as long."""
    processes = ScriptedProcesses("b", 6.0, 143, 4.0, 0, GRACE)
    processes.rest = (Signals.SIGKILL,)
    assert run(processes) == 0
    assert processes.log[1:5] == [
        "SIGTERM to 1",
        "SIGTERM to all",
        "SIGKILL to all",
        "start 2 with b",
    ]


def test_what_cannot_be_ended_delays_no_restart_for_ever() -> None:
    """It may run as another user, as `sudo` does."""
    processes = ScriptedProcesses("b", 143, GRACE, KILL_TIMEOUT, 0, GRACE, KILL_TIMEOUT)
    processes.rest = (Signals.SIGUSR1,)
    assert run(processes) == 0
    assert "start 2 with b" in processes.log


def test_a_token_that_comes_while_the_rest_is_ended_is_used() -> None:
    """Nothing else would announce it before the next one."""
    processes = ScriptedProcesses("b", 143, "c", GRACE, 0, GRACE)
    processes.rest = (Signals.SIGKILL,)
    assert run(processes) == 0
    assert [line for line in processes.log if "start" in line] == [
        "start 1 with a",
        "start 2 with c",
    ]


def test_a_stop_while_a_restart_ends_the_rest_is_a_stop() -> None:
    """The signal reaches what is left; there is no program any more."""
    processes = ScriptedProcesses("b", 143, CHILD_ENDED, Caught(Signals.SIGINT))
    processes.rest = (Signals.SIGINT,)
    assert run(processes) == 143
    assert processes.log == [
        "start 1 with a",
        "SIGTERM to 1",
        "SIGTERM to all",
        "SIGINT to all",
    ]


def test_a_program_that_is_missing_at_a_restart_is_an_error() -> None:
    """An upgrade may have moved it."""
    processes = ScriptedProcesses("b", 143)
    processes.missing_from = 2
    with pytest.raises(NotExecuted, match="no such program"):
        run(processes)
