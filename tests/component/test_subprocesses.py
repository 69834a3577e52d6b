"""Real programs: started, read from, and ended with all that they started."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from refresherd.host import subprocesses
from refresherd.host.subprocesses import GRACE_SECONDS, Program, Tail
from support.processes import over, pids, until

ENVIRON = {"PATH": os.environ["PATH"]}

STUBBORN = "trap '' TERM; sleep 60 & echo $$ $! > {pids}; wait; wait; wait"


def shell(script: str) -> Program:
    """Return a shell that runs a script."""
    return Program(("/bin/sh", "-c", script), ENVIRON)


class Printed:
    """All that was printed."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.data = b""
        self._most = most

    def take(self, piece: bytes) -> bool:
        """Take a piece."""
        self.data += piece
        return len(self.data) <= self._most


async def printed(program: Program) -> str:
    """Return what a program prints that succeeds."""
    out = Printed()
    assert await subprocesses.run(program, 10, out.take) == 0
    return out.data.decode()


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Yield what makes a program at a path that hangs when it is looked at, until it is released.

    A named pipe hangs so for want of a writer. It leaves its place to a script when it is
    opened at last, as a file does on a disk that comes back.
    """
    path, pipe, script = (tmp_path / name for name in ("program", "pipe", "script"))
    os.mkfifo(path, 0o700)
    os.link(path, pipe)

    def release(text: str) -> Path:
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o700)
        script.rename(path)
        with suppress(OSError):  # ENXIO: nobody has looked at it yet
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return path

    yield release
    release("true")


def children() -> list[threading.Thread]:
    """Return the threads that wait for programs."""
    return [thread for thread in threading.enumerate() if thread.name == "child"]


async def test_what_is_printed_is_taken_in_order_or_apart() -> None:
    """A failure reads best with its output around it; a key must be by itself."""
    both, out, err = Printed(), Printed(), Printed()
    script = shell("echo 1; echo 2 >&2; echo 3; exit 7")
    assert await subprocesses.run(script, 10, both.take) == 7
    assert await subprocesses.run(script, 10, out.take, err.take) == 7
    assert (both.data, out.data, err.data) == (b"1\n2\n3\n", b"1\n3\n", b"2\n")


async def test_a_program_gets_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    """Its arguments as they are, its environment, no input, and a place and mask of its own."""
    arguments = ("", "a b", "$HOME;*", "-x", "ü\n'\"")
    shown = "printf '<%s>' \"$@\"; cat; pwd; umask; echo $NAME-$HOME"
    argv = ("/bin/sh", "-c", shown, "name", *arguments)
    program = Program(argv, {**ENVIRON, "NAME": "value"}, str(tmp_path), 0o077)
    expected = "".join(f"<{argument}>" for argument in arguments)
    assert await printed(program) == f"{expected}{tmp_path}\n0077\nvalue-\n"


async def test_a_name_is_looked_up_on_the_programs_own_path(tmp_path: Path) -> None:
    """The daemon's PATH may be another one."""
    script = tmp_path / "no-such-program-anywhere-else"
    script.write_text("#!/bin/sh\necho $0\n")
    script.chmod(0o711)
    assert await printed(Program((script.name,), {"PATH": str(tmp_path)})) == f"{script}\n"


async def test_no_descriptor_is_inherited() -> None:
    """What systemd passes on, sockets and stored tokens, is inheritable, and not for everybody."""
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)  # noqa: FBT003  # os names no such argument
    script = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))"
    try:
        # The fourth is the listing's own.
        assert await printed(Program((sys.executable, "-c", script), ENVIRON)) == "[0, 1, 2, 3]\n"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.timing
@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("/nonexistent/program",), FileNotFoundError),
        (("no-such-program",), FileNotFoundError),
        (("/etc/passwd",), PermissionError),
        (("/",), PermissionError),
    ],
)
async def test_what_cannot_be_started_is_told(argv: tuple[str, ...], error: type[OSError]) -> None:
    """A typing error, or a package that is missing; and at once."""
    began = time.monotonic()
    with pytest.raises(error):
        await subprocesses.run(Program(argv, ENVIRON), 10, Tail().take)
    assert time.monotonic() - began < GRACE_SECONDS


async def test_a_signal_is_told_from_an_exit() -> None:
    """The kernel that kills for want of memory leaves no other trace."""
    assert await subprocesses.run(shell("kill -KILL $$"), 10, Tail().take) == -9


async def test_any_amount_of_output_is_taken() -> None:
    """A program would block on a full pipe if nobody read it, and memory is not for its prose."""
    tail = Tail()
    script = shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1")
    assert await subprocesses.run(script, 10, tail.take) == 1
    assert tail.lines(1) == "end"


async def test_a_program_is_ended_when_its_taker_has_enough() -> None:
    """What prints for ever will never print what was asked for."""
    out = Printed(100_000)
    await subprocesses.run(Program(("yes",), ENVIRON), 10, out.take)
    assert len(out.data) < 10_000_000


@pytest.mark.timing
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_program_out_of_time_is_ended_with_its_children(
    tmp_path: Path, *, cancelled: bool
) -> None:
    """Even if they ignore being asked; one token after the other would leave a heap of them."""
    script = shell(STUBBORN.format(pids=tmp_path / "pids"))
    task = asyncio.create_task(subprocesses.run(script, 10 if cancelled else 0.5, Tail().take))
    await until(lambda: len(pids(tmp_path / "pids")) == 2)
    began = time.monotonic()
    if cancelled:
        task.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else TimeoutError):
        await task
    await until(lambda: all(over(pid) for pid in pids(tmp_path / "pids")))
    assert time.monotonic() - began < 2
    await until(lambda: not children())


async def test_children_that_outlive_the_asked_for_end_are_killed(tmp_path: Path) -> None:
    """Also those that have closed the pipes, whose end nobody would notice."""
    script = shell(
        f"(trap '' TERM; sleep 60) <&- >&- 2>&- & echo $$ $! > {tmp_path}/pids; sleep 60"
    )
    with pytest.raises(TimeoutError):
        await subprocesses.run(script, 0.3, Tail().take)
    running = pids(tmp_path / "pids")
    assert len(running) == 2
    await until(lambda: all(over(pid) for pid in running))


async def test_a_second_cancellation_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever is in a hurry must not leave a process behind for that."""
    script = shell(STUBBORN.format(pids=tmp_path / "pids"))
    task = asyncio.create_task(subprocesses.run(script, 10, Tail().take))
    await until(lambda: len(pids(tmp_path / "pids")) == 2)
    task.cancel()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: all(over(pid) for pid in pids(tmp_path / "pids")))


async def test_a_program_may_clean_up_when_its_time_is_over() -> None:
    """A lock file left behind would fail the next run as well."""
    tail = Tail()
    script = shell("trap 'sleep 0.1; echo cleaned; exit' TERM; echo ready; sleep 60 & wait; wait")
    with pytest.raises(TimeoutError):
        await subprocesses.run(script, 0.3, tail.take)
    assert tail.lines(2) == "ready; cleaned"


async def test_children_that_live_on_hold_nothing_up(tmp_path: Path) -> None:
    """Background processes of a program that succeeds were meant to stay."""
    script = shell(f"sleep 60 & echo $! > {tmp_path}/pids; echo started")
    out = Printed()
    assert await subprocesses.run(script, 10, out.take, pipe_timeout=0.05) == 0
    assert out.data == b"started\n"
    (background,) = pids(tmp_path / "pids")
    assert not over(background)
    os.kill(background, signal.SIGKILL)


@pytest.mark.timing
async def test_a_start_that_hangs_stops_nobody(
    tmp_path: Path, hanging: Callable[[str], Path]
) -> None:
    """A program on a dead mount; and when the mount comes back, nobody waits for it any more."""
    program = Program((str(tmp_path / "program"),), ENVIRON)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await subprocesses.run(program, 0.2, Tail().take)
    assert time.monotonic() - began < 2
    hanging(f"sleep 0.5; touch {tmp_path}/ran")
    await until(lambda: not children())
    assert not (tmp_path / "ran").exists()


async def test_a_start_that_fails_too_late_is_of_no_interest(
    tmp_path: Path, hanging: Callable[[str], Path]
) -> None:
    """The mount may come back without the program."""
    program = Program((str(tmp_path / "program"),), ENVIRON, str(tmp_path / "missing"))
    with pytest.raises(TimeoutError):
        await subprocesses.run(program, 0.1, Tail().take)
    hanging("true")
    await until(lambda: not children())


def test_a_start_may_outlive_the_loop(tmp_path: Path, hanging: Callable[[str], Path]) -> None:
    """The daemon's stop does not wait for a dead mount, and tells nothing of it."""

    async def stopped() -> None:
        program = Program((str(tmp_path / "program"),), ENVIRON)
        with pytest.raises(TimeoutError):
            await subprocesses.run(program, 0.1, Tail().take)

    asyncio.run(stopped())
    hanging(f"sleep 0.5; touch {tmp_path}/ran")
    for thread in children():
        thread.join(10)
    assert not (tmp_path / "ran").exists()


async def test_a_host_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a unit's tasks counts threads."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(BlockingIOError, match="temporarily unavailable"):
        await subprocesses.run(shell("true"), 10, Tail().take)


async def test_who_is_not_told_of_children_can_end_them_all_the_same() -> None:
    """A parent that ignores SIGCHLD hands that down: the kernel reaps, and forgets the status."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert await subprocesses.run(shell("exit 3"), 10, Tail().take) == 0
        with pytest.raises(TimeoutError):
            await subprocesses.run(shell("sleep 60"), 0.1, Tail().take)
    finally:
        signal.signal(signal.SIGCHLD, before)
