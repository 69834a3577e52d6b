"""A program and how it is started. All of it blocks."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENOENT
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from typing import cast


@dataclass(frozen=True, slots=True)
class Program:
    """What to run; a name without a slash is looked up on the PATH of its environment.

    Without a `directory` it runs in the daemon's, and -1 leaves it the daemon's umask.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    directory: str | None = None
    umask: int = -1


def start(program: Program, *, merged: bool) -> "Popen[bytes]":
    """Start it in a session of its own, without input and with no other descriptors.

    Standard error goes the way of standard output if they are `merged`. Raises OSError.
    """
    return Popen(  # noqa: S603  # an operator's own words, from the configuration
        program.argv,
        executable=_found(program),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT if merged else PIPE,
        bufsize=0,
        cwd=program.directory,
        env=program.environ,
        umask=program.umask,
        start_new_session=True,
    )


def exit_status(pid: int) -> int:
    """Wait for a child to end; return its exit status, or a signal's number less than 0.

    It is not reaped, so that no other process group gets its number.
    """
    try:
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return 0  # who ignores SIGCHLD is told nothing; subprocess takes it for success as well
    known = cast(os.waitid_result, end)  # only WNOHANG returns without
    return known.si_status if known.si_code == os.CLD_EXITED else -known.si_status


def _found(program: Program) -> str:
    """Return the program's path, after a look into it. Raises OSError.

    Where its file system hangs the look does, in this thread alone. Popen would hang in
    vfork(2), holding Python's lock, and with it all other threads.
    """
    path = program.argv[0]
    if "/" not in path:
        search = program.environ.get("PATH", os.defpath)
        path = shutil.which(path, path=search) or ""
    if not path:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), program.argv[0])
    with suppress(OSError), Path(path).open("rb") as file:  # Popen tells what is wrong with it
        file.read(1)
    return path
