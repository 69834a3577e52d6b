"""An API key on a command's standard output."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from subprocess import DEVNULL, PIPE

from refresherd.credentials.parse import LONGEST, api_key, unreadable
from refresherd.model import Secret

COMMAND_SECONDS = 30.0

LEFTOVER_SECONDS = 1.0
"""For the pipes to close once the command ended: children that live on may keep them open."""

LONGEST_COMPLAINT = 200
"""Characters of a command's last line on standard error that are passed on."""


class CommandSource:
    """A command that prints an API key: a password manager's, a cloud's."""

    def __init__(self, argv: tuple[str, ...], environ: Mapping[str, str]) -> None:
        self._argv = argv
        self._environ = environ
        self._entity_id = ""

    @property
    def entity_id(self) -> str:
        """The app's UUID as the key last printed names it, "" before."""
        return self._entity_id

    async def read(self) -> Secret:
        """Run the command and return the API key that it prints. Raises Retryable.

        It gets no input. After 30 s, or on cancellation, it is killed with its children.
        """
        stdout = await _stdout(self._argv, self._environ)
        parsed = api_key(stdout, self._argv[0])
        self._entity_id = parsed.entity_id
        return parsed.secret

    async def stamp(self) -> None:
        """Return None: only running the command could tell."""


class _Output(asyncio.SubprocessProtocol):
    """Collects what a command prints.

    asyncio's own streams end with the pipes only, and children may keep those open.
    """

    def __init__(self) -> None:
        self.stdout = b""
        self.stderr = b""
        self.over = asyncio.Event()
        """The command ended, or printed more than is taken."""
        self.closed = asyncio.Event()
        """It ended and nobody can print any more."""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self.stderr = (self.stderr + data)[-LONGEST:]
        elif len(self.stdout) <= LONGEST:
            self.stdout += data
        else:
            self.over.set()

    def process_exited(self) -> None:
        self.over.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self.closed.set()


async def _stdout(argv: tuple[str, ...], environ: Mapping[str, str]) -> bytes:
    transport, output = await _start(argv, environ)
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            await output.over.wait()
    except TimeoutError:
        raise unreadable(argv[0], f"not done within {COMMAND_SECONDS:g} s") from None
    finally:
        await _end(transport, output)
    status = transport.get_returncode()
    if status and len(output.stdout) <= LONGEST:
        raise unreadable(argv[0], _complaint(status, output.stderr))
    return output.stdout


async def _start(
    argv: tuple[str, ...], environ: Mapping[str, str]
) -> tuple[asyncio.SubprocessTransport, _Output]:
    try:
        return await asyncio.get_running_loop().subprocess_exec(
            _Output,
            *argv,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        raise unreadable(argv[0], error.strerror) from None


async def _end(transport: asyncio.SubprocessTransport, output: _Output) -> None:
    """Kill what still runs, children and all, and take the last that it printed."""
    if transport.get_returncode() is None:
        with suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
    try:
        async with asyncio.timeout(LEFTOVER_SECONDS):
            await output.closed.wait()
    except TimeoutError:
        pass
    finally:
        transport.close()


def _complaint(status: int, stderr: bytes) -> str:
    """Say how a command failed, and what it said last."""
    said = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
    lines = stderr.decode(errors="replace").strip().splitlines()
    last = "".join(char if char.isprintable() else " " for char in lines[-1]) if lines else ""
    last = last.strip()[:LONGEST_COMPLAINT]
    return f"{said}: {last}" if last else said
