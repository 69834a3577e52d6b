"""Programs as process 1 of a process namespace, as in a container."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresherd.cli.child.processes import descendants
from support.lab import needs_tool

PATIENCE = 20.0


@contextmanager
def process_one(
    words: Sequence[str], environ: Mapping[str, str] | None = None, stderr: Path | None = None
) -> Iterator[int]:
    """Run a program as process 1 of a new namespace, and yield the process id it has here."""
    unshare = [needs_tool("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host allows no process namespaces")
    with (stderr or Path(os.devnull)).open("ab") as log:
        process = subprocess.Popen(
            [*unshare, *words], env={**os.environ, **(environ or {})}, stderr=log
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := descendants(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield found[0]
    finally:
        process.kill()
        process.wait()


def zombies(ancestor: int) -> list[int]:
    """Return the descendants that have ended and are not reaped."""
    found = []
    for pid in descendants(ancestor):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stat.rpartition(")")[2].split()[0] == "Z":
            found.append(pid)
    return found
