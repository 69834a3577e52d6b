"""A hook that runs a command."""

import asyncio
import os
from collections.abc import Mapping

from refresherd.domain.errors import HookError
from refresherd.domain.model import HookSpec
from refresherd.host import subprocesses
from refresherd.host.subprocesses import Program, Tail

PASSED_ON = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "TZ",
    "USER",
    "XDG_RUNTIME_DIR",
)
"""All that a command gets of the daemon's environment: the rest may hold keys.

With the last one `systemctl --user` finds its manager.
"""

UMASK = 0o077
"""What a command writes may well be the token."""

LINES_TOLD = 3
"""systemctl, for one, has its advice on the last line, and what failed before it."""


class CommandHook:
    """A command with its arguments, without a shell.

    It runs in /, without input, with no descriptors but its output's, of which the last lines
    are told. Of the token it learns the generation only; it reads the app's outputs.
    """

    def __init__(
        self,
        app: str,
        place: str,
        spec: HookSpec,
        environ: Mapping[str, str],
        gate: asyncio.Semaphore,
    ) -> None:
        self.name = f"{place} {spec.command[0]}"
        self._argv = spec.command
        self._timeout = spec.timeout
        self._gate = gate
        self._environ = {name: environ[name] for name in PASSED_ON if name in environ}
        self._environ.setdefault("PATH", os.defpath)
        self._environ["REFRESHERD_APP"] = app

    async def run(self, generation: int) -> str:
        """Run the command to its end, and return the last that it printed. Raises HookError.

        After the timeout, or on cancellation, it is ended with its children. What it leaves
        in the background lives on if it ends by itself.
        """
        environ = {**self._environ, "REFRESHERD_GENERATION": str(generation)}
        program = Program(self._argv, environ, "/", UMASK)
        tail = Tail()
        try:
            async with self._gate:
                status = await subprocesses.run(program, self._timeout, tail.take)
        except TimeoutError:
            message = f"not done within {self._timeout:g} s"
            said = tail.lines(LINES_TOLD)
            raise HookError(f"{message}: {said}" if said else message, timed_out=True) from None
        except OSError as error:
            raise HookError(f"cannot be started: {error.strerror}") from None
        if status:
            raise HookError(tail.complaint(status, LINES_TOLD))
        return tail.lines(LINES_TOLD)
