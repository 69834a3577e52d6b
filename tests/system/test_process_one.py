"""The installed programs as process 1, as in a container."""

import os
import signal
import time
from pathlib import Path

import pytest

from support.pid_namespaces import process_one, zombies
from support.processes import over, pids
from support.programs import PATIENCE, REFRESHERD, Workplace, emulator, eventually

LEAVES_ORPHANS = "(sleep 0.1 & true & sleep 0.2 & echo $$ >> {0}/ran); echo done"
"""A script whose children outlive it."""

UNREACHABLE = """
[dsm]
endpoint = "http://127.0.0.1:1"
[apps.payments]
api_key_command = ["/bin/sh", "-c", "sleep 60"]
[[apps.payments.files]]
path = "{}/token"
"""

KEY_COMMAND = """
[apps.{app}]
api_key_command = ["/bin/sh", "-c", "(sleep 0.1 & true & :) >/dev/null; cat {directory}/{app}.key"]
[[apps.{app}.files]]
path = "{app}.token"
"""


def gone(pid: int) -> float:
    """Return the seconds until a process has ended."""
    began = time.monotonic()
    while not over(pid):
        assert time.monotonic() < began + PATIENCE
        time.sleep(0.01)
    return time.monotonic() - began


def test_the_daemon_reaps_every_orphan(tmp_path: Path) -> None:
    """Zombies of hooks and key commands would fill the process table in days.

    Their exit statuses are not lost: a hook that is reaped by somebody else would seem to succeed.
    """
    script = LEAVES_ORPHANS.format(tmp_path)
    hooks = (
        f'command = ["/bin/sh", "-c", "{script}"]',
        'command = ["/bin/sh", "-c", "sleep 0.05 & exit 5"]',
    )
    log = tmp_path / "log"
    with emulator("--lifetime", "2", "--apps", "2") as dsm:
        workplace = Workplace(tmp_path, dsm)
        workplace.app("payments", "".join(f"[[apps.payments.hooks]]\n{one}\n" for one in hooks))
        (tmp_path / "orders.key").write_text(dsm.api_keys[1])
        workplace.sections.append(KEY_COMMAND.format(app="orders", directory=tmp_path))
        config = workplace.write('[http]\nlisten = []\n[refresh]\nrenew = "auth"\n')
        words = [REFRESHERD, "run", "--config", str(config)]
        with process_one(words, stderr=log) as pid:
            eventually(tmp_path / "orders.token")
            deadline = time.monotonic() + PATIENCE
            while len(pids(tmp_path / "ran")) < 4:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            while zombies(pid):
                assert time.monotonic() < deadline, zombies(pid)
                time.sleep(0.05)
            os.kill(pid, signal.SIGTERM)
            assert gone(pid) < 5
    text = log.read_text()
    assert '"message":"done"' in text
    assert '"message":"exit status 5"' in text
    assert '"reason":"credential"' not in text


@pytest.mark.parametrize("words", [("wait",), ("once", "--config", "config.toml")])
def test_a_command_that_waits_ends_at_term(words: tuple[str, ...], tmp_path: Path) -> None:
    """The kernel keeps TERM from process 1, and a container would be killed ten seconds later."""
    log = tmp_path / "log"
    config = tmp_path / "config.toml"
    config.write_text(UNREACHABLE.format(tmp_path))
    line = [word.replace(config.name, str(config)) for word in words]
    environ = {"REFRESHERD_SOCKET": str(tmp_path / "none")}
    with process_one([REFRESHERD, *line], environ=environ, stderr=log) as pid:
        deadline = time.monotonic() + PATIENCE
        while not over(pid):  # again and again: it may still be starting
            assert time.monotonic() < deadline
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.5)
    assert "Traceback" not in log.read_text()
