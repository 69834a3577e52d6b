"""Shell scripts that `refresherd exec payments` runs, and the log of what they see."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = """
echo $FORTANIX_ACCESS_TOKEN >> $LOG
case $FORTANIX_ACCESS_TOKEN in second) exit 5;; esac
trap 'echo hup >> $LOG; exit 6' HUP
trap 'echo usr1 >> $LOG; exit 7' USR1
while :; do sleep 0.02; done
"""
"""A shell script that logs its token, and ends by itself if that is `second`."""


def until(log: Path, content: str) -> None:
    """Wait until the log has this content."""
    deadline = time.monotonic() + 10
    while not log.exists() or log.read_text() != content:
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "nothing"
        time.sleep(0.01)


@contextmanager
def running(*options: str, script: str = SERVER) -> Iterator[subprocess.Popen[str]]:
    """Run `exec` with a shell script in a process of its own.

    In this one, the threads of other tests would receive the signals that are held back.
    """
    line = ["exec", "payments", *options, "--", "/bin/sh", "-c", script]
    process = subprocess.Popen(
        [sys.executable, "-m", "refresherd", *line], stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit status and what was written to standard error."""
    _, err = process.communicate(timeout=10)
    return process.returncode, err
