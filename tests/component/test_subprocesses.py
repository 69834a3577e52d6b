"""Real programs are started, read from, and ended with all that they started."""

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
    """Return what a successful program prints."""
    out = Printed()
    assert await subprocesses.run(program, 10, out.take) == 0
    return out.data.decode()


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make a program that hangs when it is opened; yield the function that releases it.

    It is a named pipe without a writer. When it is released a script takes its place, like a file
    on a disk that comes back.
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


async def test_output_is_read_in_order_or_separately() -> None:
    """An error reads best with the output around it; a key must be on its own."""
    both, out, err = Printed(), Printed(), Printed()
    script = shell("echo 1; echo 2 >&2; echo 3; exit 7")
    assert await subprocesses.run(script, 10, both.take) == 7
    assert await subprocesses.run(script, 10, out.take, err.take) == 7
    assert (both.data, out.data, err.data) == (b"1\n2\n3\n", b"1\n3\n", b"2\n")


async def test_a_program_gets_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    """Its arguments as they are, its environment, no input, its directory and its umask."""
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
    """Sockets and tokens that systemd passes on are inheritable, and must not leak."""
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
async def test_a_program_that_cannot_be_started_is_an_error(
    argv: tuple[str, ...], error: type[OSError]
) -> None:
    """A typing error or a missing package is reported at once."""
    began = time.monotonic()
    with pytest.raises(error):
        await subprocesses.run(Program(argv, ENVIRON), 10, Tail().take)
    assert time.monotonic() - began < GRACE_SECONDS


async def test_a_signal_is_distinguished_from_an_exit() -> None:
    """When the kernel kills for lack of memory it leaves no other trace."""
    assert await subprocesses.run(shell("kill -KILL $$"), 10, Tail().take) == -9


async def test_any_amount_of_output_is_read() -> None:
    """A program would block on a full pipe; yet its output must not fill the memory."""
    tail = Tail()
    script = shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1")
    assert await subprocesses.run(script, 10, tail.take) == 1
    assert tail.lines(1) == "end"


async def test_a_program_that_prints_too_much_is_ended() -> None:
    """A program that prints for ever never prints what is wanted."""
    out = Printed(100_000)
    await subprocesses.run(Program(("yes",), ENVIRON), 10, out.take)
    assert len(out.data) < 10_000_000


@pytest.mark.timing
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_program_out_of_time_is_ended_with_its_children(
    tmp_path: Path, *, cancelled: bool
) -> None:
    """Even if they ignore TERM; otherwise each token would leave more of them."""
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


async def test_children_that_ignore_term_are_killed(tmp_path: Path) -> None:
    """Even those that closed the pipes, whose end nobody would notice."""
    script = shell(
        f"(trap '' TERM; sleep 60) <&- >&- 2>&- & echo $$ $! > {tmp_path}/pids; sleep 60"
    )
    with pytest.raises(TimeoutError):
        await subprocesses.run(script, 0.3, Tail().take)
    running = pids(tmp_path / "pids")
    assert len(running) == 2
    await until(lambda: all(over(pid) for pid in running))


async def test_a_second_cancellation_ends_it_at_once(tmp_path: Path) -> None:
    """A hurried stop must not leave a process behind."""
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
async def test_a_start_that_hangs_blocks_nobody(
    tmp_path: Path, hanging: Callable[[str], Path]
) -> None:
    """The program is on a dead mount; when the mount comes back, it is not run any more."""
    program = Program((str(tmp_path / "program"),), ENVIRON)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await subprocesses.run(program, 0.2, Tail().take)
    assert time.monotonic() - began < 2
    hanging(f"sleep 0.5; touch {tmp_path}/ran")
    await until(lambda: not children())
    assert not (tmp_path / "ran").exists()


async def test_a_start_that_fails_too_late_is_ignored(
    tmp_path: Path, hanging: Callable[[str], Path]
) -> None:
    """The mount may come back without the program."""
    program = Program((str(tmp_path / "program"),), ENVIRON, str(tmp_path / "missing"))
    with pytest.raises(TimeoutError):
        await subprocesses.run(program, 0.1, Tail().take)
    hanging("true")
    await until(lambda: not children())


def test_a_start_may_outlive_the_loop(tmp_path: Path, hanging: Callable[[str], Path]) -> None:
    """The daemon's stop does not wait for a dead mount, nor print a traceback later."""

    async def stopped() -> None:
        program = Program((str(tmp_path / "program"),), ENVIRON)
        with pytest.raises(TimeoutError):
            await subprocesses.run(program, 0.1, Tail().take)

    asyncio.run(stopped())
    hanging(f"sleep 0.5; touch {tmp_path}/ran")
    for thread in children():
        thread.join(10)
    assert not (tmp_path / "ran").exists()


async def test_a_lack_of_threads_is_an_error() -> None:
    """The limit of a unit's tasks counts threads; here none gets the stack that it asks for."""
    usual = threading.stack_size(1 << 46)
    try:
        with pytest.raises(BlockingIOError, match="may have no more threads"):
            await subprocesses.run(shell("true"), 10, Tail().take)
    finally:
        threading.stack_size(usual)


async def test_programs_can_be_run_and_ended_while_sigchld_is_ignored() -> None:
    """A parent's ignored SIGCHLD is inherited: the kernel then reaps, and the status is lost."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert await subprocesses.run(shell("exit 3"), 10, Tail().take) == 0
        with pytest.raises(TimeoutError):
            await subprocesses.run(shell("sleep 60"), 0.1, Tail().take)
    finally:
        signal.signal(signal.SIGCHLD, before)
