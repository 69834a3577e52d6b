"""Hooks of the installed daemon, as services see them, through refreshes and a stop."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from support.processes import over, pids
from support.programs import PATIENCE, Workplace, command, emulator, running

ON_HUP = """
import os, signal, sys
signal.signal(signal.SIGHUP, lambda *_: print("HUP", file=open(sys.argv[2], "a"), flush=True))
print(os.getpid(), file=open(sys.argv[1], "w"), flush=True)
while True:
    signal.pause()
"""

PID_FILE = "service.pid"


def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(path: Path) -> list[str]:
    """Return what has been written so far."""
    return path.read_text().splitlines() if path.exists() else []


def changed(path: Path, before: str) -> bool:
    """Return whether a file's content has changed."""
    return path.read_text() != before


@contextmanager
def service(directory: Path) -> Iterator[Path]:
    """Run a service with a pid file; yield the file in which it records each HUP."""
    noted, pid_file = directory / "noted", directory / PID_FILE
    process = subprocess.Popen([sys.executable, "-c", ON_HUP, str(pid_file), str(noted)])
    try:
        eventually(lambda: pids(pid_file))
        yield noted
    finally:
        process.kill()
        process.wait()


def app(directory: Path, *hooks: str) -> str:
    """Return the body of an app with a file, `token`, and these hooks."""
    file = f'[[apps.payments.files]]\npath = "{directory}/token"\n'
    return file + "".join(f"[[apps.payments.hooks]]\n{hook}\n" for hook in hooks)


def test_services_are_told_of_each_new_token(tmp_path: Path) -> None:
    """A hook runs once its token can be read, from the first token on, even if others fail."""
    token, copies, log = (tmp_path / name for name in ("token", "copies", "log"))
    read = f"(echo $REFRESHERD_APP $REFRESHERD_GENERATION; cat {token}; echo) >> {copies}"
    failing = 'command = ["/bin/sh", "-c", "echo no such unit; exit 5"]'
    hooks = (
        failing,
        f'command = ["/bin/sh", "-c", "{read}"]',
        f'signal = "HUP"\npid_file = "{PID_FILE}"',
    )
    with emulator("--lifetime", "2") as dsm, service(tmp_path) as noted:
        workplace = Workplace(tmp_path, dsm)
        workplace.app("payments", app(tmp_path, *hooks))
        config = workplace.write()
        with running("run", "--config", str(config), stderr=log):
            eventually(lambda: len(lines(noted)) >= 3)
    seen = lines(copies)
    generations = range(1, len(seen) // 2 + 1)
    assert seen[::2] == [f"payments {generation}" for generation in generations]
    assert len(set(seen[1::2])) == len(generations) >= 3
    warnings = [line for line in map(json.loads, lines(log)) if line["event"] == "hook failed"]
    assert [(line["hook"], line["message"]) for line in warnings] == [
        ("hooks[0] /bin/sh", "exit status 5: no such unit")
    ]
    assert not any(one in log.read_text() for one in seen[1::2])


@pytest.mark.timing
def test_a_hanging_hook_delays_no_token_and_no_stop(tmp_path: Path) -> None:
    """When the daemon has stopped, no process of the hook is left."""
    script = f"trap '' TERM; sleep 60 & echo $$ $! > {tmp_path}/pids; wait; wait; wait"
    hook = f'command = ["/bin/sh", "-c", "{script}"]\ntimeout = "1m"'
    with emulator("--lifetime", "2") as dsm:
        workplace = Workplace(tmp_path, dsm)
        workplace.app("payments", app(tmp_path, hook))
        config = workplace.write()
        with running("run", "--config", str(config)) as daemon:
            eventually(lambda: len(pids(tmp_path / "pids")) == 2)
            for _ in range(3):
                token = (tmp_path / "token").read_text()
                eventually(partial(changed, tmp_path / "token", token))
            began = time.monotonic()
            daemon.terminate()
            daemon.wait(PATIENCE)
            assert time.monotonic() - began < 5
    assert daemon.returncode == 0
    eventually(lambda: all(over(pid) for pid in pids(tmp_path / "pids")))


def test_a_key_in_the_environment_is_not_handed_on(tmp_path: Path) -> None:
    """A hook's command may be anybody's script, so it gets neither a key nor a token."""
    seen = tmp_path / "seen"
    with emulator() as dsm:
        workplace = Workplace(tmp_path, dsm)
        hook = f'command = ["/bin/sh", "-c", "env > {seen}.new && mv {seen}.new {seen}"]'
        body = app(tmp_path, hook)
        workplace.sections.append(f'[apps.payments]\napi_key_env = "FORTANIX_API_KEY"\n{body}')
        config = workplace.write()
        environ = {"FORTANIX_API_KEY": dsm.api_keys[0]}
        with running("run", "--config", str(config), environ=environ):
            eventually(seen.exists)
    text = seen.read_text()
    assert f"PATH={os.environ['PATH']}" in lines(seen)
    assert "REFRESHERD_GENERATION=1" in lines(seen)
    assert "FORTANIX" not in text
    assert dsm.api_keys[0] not in text
    assert (tmp_path / "token").read_text() not in text


def test_a_single_shot_runs_no_hook(tmp_path: Path) -> None:
    """In an init container there is no service to notify yet."""
    with emulator() as dsm:
        workplace = Workplace(tmp_path, dsm)
        workplace.app("payments", app(tmp_path, f'command = ["touch", "{tmp_path}/touched"]'))
        done = command("once", "--config", str(workplace.write()))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "token").exists()
    assert not (tmp_path / "touched").exists()
