"""A file output for tests, also as a process of its own that can be traced and killed.

    python file_writer.py [OPTION…] PATH [prepare | put | put:COUNT | remove]…
    python file_writer.py --breed PATH

Each command prints a line on standard output: "done", or the error's text. With --breed a child is
forked for each line read; it writes tokens for ever, and its pid is printed.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from refresherd.adapters.outputs.files import FileOutput
from refresherd.domain.errors import OutputError
from refresherd.domain.model import (
    ApiKeyEnv,
    App,
    Endpoint,
    FileSpec,
    Instant,
    Ownership,
    Secret,
    Token,
)
from refresherd.host.atomic_file import FileContext
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import ENTITY_ID, FakeClock

APP = App("payments", Endpoint("https://amer.smartkey.io"), ApiKeyEnv("FORTANIX_API_KEY"))

LENGTH = 2_000
"""Repetitions in a token: long enough that a torn one could not pass for a whole one."""


def held(path: Path) -> int:
    """Return the generation of the token in a file."""
    return generation_of(path.read_text())


def beside(path: Path) -> list[str]:
    """Return the names of all other files in an output's directory."""
    return sorted(entry.name for entry in path.parent.iterdir() if entry != path)


WRITER = (sys.executable, __file__)
"""How this file is run as a program."""


def ran(command: Sequence[str]) -> list[str]:
    """Run a command that has to succeed; return the lines that it printed."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


def token(generation: int = 1, lifetime: float = 600.0) -> Token:
    """Return a token as issued at boot time 1000."""
    secret = Secret(f"{generation:07d}." * LENGTH)
    expires_at = Instant(1000.0 + lifetime)
    return Token(secret, ENTITY_ID, generation, Instant(1000.0), lifetime, expires_at)


def generation_of(content: str) -> int:
    """Return a token's generation; half a token, or anything else, fails the test."""
    match = re.match(r"[0-9]{7}\.", content)
    assert match, f"no token: {content[:20]!r}"
    assert content == match[0] * LENGTH, f"a torn token of {len(content)} bytes"
    return int(match[0][:-1])


def output(
    path: Path,
    ownership: Ownership | None = None,
    *,
    executor: KeyedExecutor | None = None,
    patience: float = 30.0,
) -> FileOutput:
    """Return a file output for raw tokens."""
    spec = FileSpec(path, ownership=ownership or Ownership())
    files = FileContext(FakeClock(), executor or KeyedExecutor(), patience=patience)
    return FileOutput(APP, spec, files)


def say(line: str) -> None:
    """Print a line without write(2), which tests make fail."""
    os.writev(sys.stdout.fileno(), [line.encode(), b"\n"])


async def obey(target: FileOutput, command: str) -> str:
    """Execute a command and return its outcome; a COUNT of 0 goes on for ever."""
    verb, _, count = command.partition(":")
    try:
        if verb == "put":
            generation = 0
            while generation < int(count or 1) or count == "0":
                generation += 1
                await target.put(token(generation % 10_000_000))
        elif verb == "remove":
            await target.remove()
        else:
            await target.prepare()
    except OutputError as error:
        return str(error)
    return "done"


async def obey_all(arguments: argparse.Namespace) -> None:
    """Execute the commands one after the other."""
    ownership = Ownership(int(arguments.mode, 8), arguments.owner, arguments.group)
    target = output(Path(arguments.path), ownership)
    for command in arguments.commands:
        say(await obey(target, command))


def breed(path: Path) -> None:
    """Fork a writer for each line; the next line is read once it was killed."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            sys.exit(asyncio.run(obey(output(path), "put:0")))
        say(str(pid))
        os.waitpid(pid, 0)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--breed", action="store_true")
    parser.add_argument("--mode", default="0600")
    parser.add_argument("--owner", default="")
    parser.add_argument("--group", default="")
    parser.add_argument("--umask", default="0022")
    parser.add_argument("--user", type=int, help="the uid to become once all is imported")
    parser.add_argument("path")
    parser.add_argument("commands", nargs="*")
    arguments = parser.parse_args()
    os.umask(int(arguments.umask, 8))
    if arguments.user is not None:
        os.setgroups([])
        os.setgid(arguments.user)
        os.setuid(arguments.user)
    if arguments.breed:
        breed(Path(arguments.path))
    else:
        asyncio.run(obey_all(arguments))


if __name__ == "__main__":
    main()
