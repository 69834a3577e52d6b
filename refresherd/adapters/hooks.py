"""Hooks after each new token: commands, and signals to the process of a pid file."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from errno import ENOSYS, EPERM
from functools import partial
from pathlib import Path

from refresherd.domain.durations import in_seconds
from refresherd.domain.errors import HookError
from refresherd.domain.model import App
from refresherd.engine.ports import Hook
from refresherd.host import child_environment, subprocesses
from refresherd.host.keyed_executor import KeyedExecutor, filesystem_timeout
from refresherd.host.subprocesses import Program, Tail

UMASK = 0o077
"""A command may write the token to a file."""

REPORTED_LINES = 3
"""Last lines of output. systemctl prints the failure first, and its advice on the last line."""

PID_FILE_BYTES = 64
"""The most that is read of a pid file. Some have more lines; the first has the process id."""

PID = re.compile(rb"\s*([0-9]{1,9})\s*")
"""Linux has process ids of up to 7 digits: pid_max in proc(5)."""

RETRY_SECONDS = 0.25
"""Between two looks at a pid file that names no process yet."""

INIT = 1
"""Never signalled; nor are lower numbers, which mean process groups to kill(2)."""

OPEN_PID_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Non-blocking: opening a named pipe would hold up all pid files of its directory."""


def hooks(
    app: App, environ: Mapping[str, str], executor: KeyedExecutor, gate: asyncio.Semaphore
) -> tuple[Hook, ...]:
    """Return an app's hooks, in order. `gate` limits how many commands run at a time."""
    environ = {**child_environment.basic(environ), "REFRESHERD_APP": app.name}
    result: list[Hook] = []
    for index, spec in enumerate(app.hooks):
        if spec.pid_file is None:
            name = f"hooks[{index}] {spec.command[0]}"
            result.append(CommandHook(name, spec.command, spec.timeout, environ, gate))
        else:
            number = signal.Signals[f"SIG{spec.signal.removeprefix('SIG')}"]
            name = f"hooks[{index}] {number.name} to {spec.pid_file}"
            result.append(SignalHook(name, number, spec.pid_file, spec.timeout, executor))
    return tuple(result)


@dataclass(frozen=True, slots=True)
class CommandHook:
    """A command, run without a shell, in /, with no input and no descriptors but its output's.

    It gets the app's name and the token's generation in its environment, never the token,
    which it can read from the app's outputs.
    """

    name: str
    argv: tuple[str, ...] = field(repr=False)
    timeout: float
    environ: Mapping[str, str] = field(repr=False)
    gate: asyncio.Semaphore

    async def run(self, generation: int) -> str:
        """Run the command; return the last lines that it printed. Raises HookError.

        After the timeout, which does not count the wait at the gate, or on cancellation, the
        command and its children are ended. After a success, background processes live on.
        """
        environ = {**self.environ, "REFRESHERD_GENERATION": str(generation)}
        program = Program(self.argv, environ, "/", UMASK)
        tail = Tail()
        try:
            async with self.gate:
                status = await subprocesses.run(program, self.timeout, tail.take)
        except TimeoutError:
            message = f"it did not finish within {in_seconds(self.timeout)}, and was ended"
            lines = tail.lines(REPORTED_LINES)
            raise HookError(f"{message}: {lines}" if lines else message, timed_out=True) from None
        except OSError as error:
            raise HookError(f"it cannot be started: {error.strerror}") from None
        if status:
            raise HookError(tail.complaint(status, REPORTED_LINES))
        return tail.lines(REPORTED_LINES)


class NoProcess(HookError):
    """A pid file names no process, but may do so soon: its service is just starting."""


@dataclass(frozen=True, slots=True)
class SignalHook:
    """A signal to the process that a pid file names when the hook runs, or soon after."""

    name: str
    number: signal.Signals
    pid_file: Path
    timeout: float
    executor: KeyedExecutor

    async def run(self, generation: int) -> str:  # noqa: ARG002  # a signal cannot carry it
        """Send the signal; return "", since a signal has no output. Raises HookError.

        A file that is missing, empty or stale is read again until the timeout.
        """
        missing: NoProcess | None = None
        try:
            async with filesystem_timeout(self.timeout):
                while True:
                    try:
                        await self._send()
                    except NoProcess as error:
                        missing = error
                        await asyncio.sleep(RETRY_SECONDS)
                        missing = None
                    else:
                        return ""
        except OSError as error:
            if missing is not None:
                raise HookError(f"{missing}; retried for {in_seconds(self.timeout)}") from None
            message = f"{self.pid_file}: {error.strerror}"
            raise HookError(message, timed_out=isinstance(error, TimeoutError)) from None

    async def _send(self) -> None:
        """Signal the process if, once it is opened, the file still names it; else the new one.

        When a service restarts, its old process id may pass to any other process.
        """
        pid = await self._pid()
        try:
            while not await self._signal_if_named(pid):
                pid = await self._pid()
        except ProcessLookupError:
            message = "it is stale: the process that it names no longer exists"
            raise NoProcess(f"{self.pid_file}: {message}") from None

    async def _signal_if_named(self, pid: int) -> bool:
        process = _opened(pid)
        try:
            named = await self._pid() == pid
            if named:
                _signal(pid, process, self.number)
            return named
        finally:
            if process is not None:
                os.close(process)

    async def _pid(self) -> int:
        try:
            return await self.executor.call(self.pid_file.parent, partial(_read, self.pid_file))
        except FileNotFoundError as error:
            raise NoProcess(f"{self.pid_file}: {error.strerror}") from None


def _read(pid_file: Path) -> int:
    descriptor = os.open(pid_file, OPEN_PID_FILE)
    try:
        line, *_ = os.read(descriptor, PID_FILE_BYTES).split(b"\n")
    finally:
        os.close(descriptor)
    match = PID.fullmatch(line)
    if match is None or int(match[1]) <= INIT:
        raise NoProcess(f"{pid_file}: its first line is not a process id above {INIT}")
    if int(match[1]) == os.getpid():
        raise HookError(f"{pid_file}: it names refresherd itself; set the service's pid file")
    return int(match[1])


def _opened(pid: int) -> int | None:
    """Return a descriptor of a process, None if the host has no pidfd_open(2). Raises OSError.

    Kernels before 5.3 and Pythons built for them lack it, and containers may forbid it.
    """
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError as error:
        if error.errno not in (ENOSYS, EPERM):
            raise
        return None


def _signal(pid: int, process: int | None, number: signal.Signals) -> None:
    try:
        if process is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(process, number)
    except PermissionError:
        message = f"process {pid} belongs to another user, and refresherd lacks CAP_KILL"
        raise HookError(message) from None
