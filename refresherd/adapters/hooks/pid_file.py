"""A hook that signals the process of a pid file."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSYS, EPERM
from functools import partial
from pathlib import Path

from refresherd.domain.errors import HookError
from refresherd.host.keyed_executor import KeyedExecutor

LONGEST = 64
"""Bytes that are read of a pid file: some have more lines, but the first is the one."""

PID = re.compile(rb"\s*([0-9]{1,9})\s*")
"""Linux has numbers of up to 7 digits: proc(5), pid_max."""

INIT = 1
"""To kill(2) numbers below are process groups, and this one is nobody's consumer."""

OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Without blocking: a named pipe would hold up all other pid files of its directory."""


class SignalHook:
    """A signal to the process that a pid file names by then. Each try is bounded by a timeout."""

    def __init__(
        self, place: str, signal_name: str, pid_file: Path, timeout: float, executor: KeyedExecutor
    ) -> None:
        self._number = signal.Signals[f"SIG{signal_name.removeprefix('SIG')}"]
        self._pid_file = pid_file
        self._timeout = timeout
        self._executor = executor
        self.name = f"{place} {self._number.name} to {pid_file}"

    async def run(self, generation: int) -> str:  # noqa: ARG002  # a signal can't tell it
        """Send the signal; there is nothing to tell of it. Raises HookError."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._send()
        except TimeoutError:
            message = f"the disk takes over {self._timeout:g} s"
            raise HookError(f"{self._pid_file}: {message}", timed_out=True) from None
        except ProcessLookupError:
            raise HookError(f"{self._pid_file}: stale; the process that it names is gone") from None
        except OSError as error:
            raise HookError(f"{self._pid_file}: {error.strerror}") from None
        return ""

    async def _send(self) -> None:
        """Signal the process that the file still names once that process was opened.

        A service that restarts in between leaves its number to anybody, and tells the file.
        """
        pid = await self._pid()
        while True:
            with _opened(pid) as process:
                named = await self._pid()
                if named == pid:
                    _signal(pid, process, self._number)
                    return
            pid = named

    async def _pid(self) -> int:
        return await self._executor.call(self._pid_file.parent, partial(_read, self._pid_file))


def _read(pid_file: Path) -> int:
    descriptor = os.open(pid_file, OPEN)
    try:
        line, *_ = os.read(descriptor, LONGEST).split(b"\n")
    finally:
        os.close(descriptor)
    found = PID.fullmatch(line)
    if found is None or int(found[1]) <= INIT:
        raise HookError(f"{pid_file}: its first line is no process id above {INIT}")
    if int(found[1]) == os.getpid():
        raise HookError(f"{pid_file}: names refresherd itself")
    return int(found[1])


@contextmanager
def _opened(pid: int) -> Iterator[int | None]:
    """Yield a descriptor of a process, None where there is no such thing. Raises OSError.

    A kernel before 5.3 has none, a container may forbid it, and a Python that was built for
    older ones does not know it.
    """
    process = None
    try:
        if hasattr(os, "pidfd_open"):
            process = os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (ENOSYS, EPERM):
            raise
    try:
        yield process
    finally:
        if process is not None:
            os.close(process)


def _signal(pid: int, process: int | None, number: signal.Signals) -> None:
    try:
        if process is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(process, number)
    except PermissionError:
        raise HookError(f"process {pid} is another user's; refresherd may not signal it") from None
