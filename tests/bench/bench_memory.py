"""The daemon's memory, compared with a bare interpreter, and what each app adds.

Usage: python tests/bench/run.py memory

`refresherd run` with its HTTP listener and its API socket, as the kernel sees it (VmRSS of
proc_pid_status(5)) a moment after every app's token is in its file, when its connections
are still open: as many as there are apps, and 32 at most.
"""

import subprocess
import sys
import time
from pathlib import Path

from bench import stage
from bench.report import heading, row

LIFETIME = 600
FEW = 10
MANY = 10_000

SETTLED = 1.0
"""Seconds after the last token until its temporary objects are freed."""


def resident(pid: int) -> float:
    """Return a process's resident memory in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def of_daemon(apps: int, *, tls: bool) -> float:
    """Return the daemon's resident memory with so many apps, in KiB."""
    with stage.directory() as place:
        certificates = place if tls else None
        with stage.canned_dsm(LIFETIME, certificates) as url:
            configuration = stage.configuration(place, url, apps, certificates)
            with stage.daemon(configuration) as process:
                stage.await_tokens(place, apps, process, pause=0.1)
                time.sleep(SETTLED)
                return resident(process.pid)


def of_interpreter() -> float:
    """Return the resident memory of an interpreter without imports, in KiB."""
    waiting = [sys.executable, "-c", "input()"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE) as process:
        time.sleep(0.3)
        held = resident(process.pid)
        process.communicate(b"\n")
    return held


def main() -> None:
    """Measure and print."""
    bare, few, many = of_interpreter(), of_daemon(FEW, tls=False), of_daemon(MANY, tls=False)
    encrypted = of_daemon(FEW, tls=True)
    heading("Memory", "bare Python")
    row(f"with {FEW} apps over HTTP, MiB", few / 1024, bare / 1024, "45 MiB")
    row(f"with {FEW} apps over HTTPS, connections open, MiB", encrypted / 1024, bare / 1024)
    row(f"for each app more, up to {MANY}, KiB", (many - few) / (MANY - FEW), aim="5 KiB")


if __name__ == "__main__":
    main()
