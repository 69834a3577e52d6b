"""Hooks that run real commands."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import pytest

from refresherd.adapters.hooks import hooks
from refresherd.domain.errors import HookError
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, HookSpec
from refresherd.engine.ports import Hook
from refresherd.host.keyed_executor import KeyedExecutor
from support.processes import over, pids, until

PATH = os.environ["PATH"]

TOKEN = "hunter2-" * 11

CANARIES = [
    "FORTANIX_API_KEY",
    "FORTANIX_ACCESS_TOKEN",
    "SDKMS_API_KEY",
    "PAYMENTS_KEY",
    "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LD_PRELOAD",
]

REPORT = """
import json, os, sys
report = [sys.argv[2:], dict(os.environ), os.getcwd(), sys.stdin.read(),
          [int(fd) for fd in os.listdir("/proc/self/fd")], os.umask(0), os.getsid(0) == os.getpid()]
json.dump(report, open(sys.argv[1], "w"))
"""


def command(
    *argv: str,
    timeout: float = 10.0,
    environ: dict[str, str] | None = None,
    gate: asyncio.Semaphore | None = None,
) -> Hook:
    """Return the hook of an app whose only hook is this command."""
    endpoint, credential = Endpoint("https://dsm.example.com"), ApiKeyEnv("PAYMENTS_KEY")
    app = App("payments", endpoint, credential, hooks=(HookSpec(argv, timeout=timeout),))
    environ = {"PATH": PATH} if environ is None else environ
    (hook,) = hooks(app, environ, KeyedExecutor(), gate or asyncio.Semaphore(1))
    return hook


def shell(script: str, timeout: float = 10.0, gate: asyncio.Semaphore | None = None) -> Hook:
    """Return a hook that runs a shell script."""
    return command("/bin/sh", "-c", script, timeout=timeout, gate=gate)


async def fault(hook: Hook, *, timed_out: bool = False) -> str:
    """Return the message of a hook that fails."""
    with pytest.raises(HookError) as caught:
        await hook.run(7)
    assert caught.value.timed_out == timed_out
    return str(caught.value)


def test_a_hooks_name_is_its_key_and_its_program() -> None:
    """An operator finds it in the configuration by its key; an argument could be a password."""
    assert command("systemctl", "reload", "payments.service").name == "hooks[0] systemctl"


async def test_a_command_is_run(tmp_path: Path) -> None:
    """A command that prints nothing has nothing to report."""
    assert await command("touch", f"{tmp_path}/touched").run(1) == ""
    assert (tmp_path / "touched").exists()


async def test_the_output_of_a_successful_command_is_returned() -> None:
    """It may hold a warning, which would be lost, because the command has no terminal."""
    assert await shell("echo 1; echo reloaded >&2; echo 2 left; echo ok").run(1) == (
        "reloaded; 2 left; ok"
    )


async def test_a_command_gets_its_arguments_and_hardly_anything_else(tmp_path: Path) -> None:
    """It gets no shell, no key of the daemon's environment, no descriptor and no terminal."""
    arguments = ["", "a b", "$HOME;*", "-x", "ü'\""]
    passed_on = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    out = tmp_path / "out"
    argv = (sys.executable, "-c", REPORT, str(out), *arguments)
    await command(*argv, environ={**passed_on, **dict.fromkeys(CANARIES, "canary")}).run(7)
    assert json.loads(out.read_text()) == [
        arguments,
        {**passed_on, "REFRESHERD_APP": "payments", "REFRESHERD_GENERATION": "7"},
        "/",
        "",
        [0, 1, 2, 3],  # the last is the listing's own
        0o077,
        True,
    ]


async def test_commands_are_found_without_a_path_variable() -> None:
    """A container may start the daemon with an empty environment."""
    await command("true", environ={}).run(1)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "exit status 3"),
        ("kill -KILL $$", "killed by signal 9"),
        (
            "echo 1; echo 2; echo Unit not found. >&2; echo See status.; exit 5",
            "exit status 5: 2; Unit not found.; See status.",
        ),
        ("yes | head -c 1000000; exit 1", "exit status 1: y; y; y"),
    ],
)
async def test_the_message_for_a_failed_command_quotes_its_last_lines(
    script: str, message: str
) -> None:
    """The operator needs the command's complaint."""
    assert await fault(shell(script)) == message


async def test_a_message_never_quotes_half_a_token() -> None:
    """The log recognises tokens by their length, so none may be cut before."""
    message = await fault(shell(f"printf %0180d 7; echo ' {TOKEN} {TOKEN}'; exit 1"))
    assert message.startswith("exit status 1: 000")
    assert TOKEN[:8] not in message


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("/nonexistent/reload", "No such file or directory"),
        ("no-such-program", "No such file or directory"),
        ("/etc/passwd", "Permission denied"),
    ],
)
async def test_a_command_that_cannot_be_started_is_an_error(program: str, reason: str) -> None:
    """The configuration has a typing error, or a package is missing on this host."""
    assert await fault(command(program)) == f"it cannot be started: {reason}"


@pytest.mark.parametrize(
    ("script", "quoted"), [("", ""), ("echo waiting for lock", ": waiting for lock")]
)
async def test_a_hanging_command_is_ended_with_its_children(
    tmp_path: Path, script: str, quoted: str
) -> None:
    """They may ignore TERM; the last lines may show what the command hangs on."""
    stubborn = f"{script}\ntrap '' TERM; sleep 60 & echo $$ $! > {tmp_path}/pids; wait; wait; wait"
    message = await fault(shell(stubborn, timeout=0.5), timed_out=True)
    assert message == f"it did not finish within 0.5 s, and was ended{quoted}"
    running = pids(tmp_path / "pids")
    assert len(running) == 2
    await until(lambda: all(over(pid) for pid in running))


@pytest.mark.timing
async def test_a_stop_ends_a_command_within_a_second(tmp_path: Path) -> None:
    """Its children are ended as well: nothing else would end them."""
    hook = shell(f"trap '' TERM; sleep 60 & echo $$ $! > {tmp_path}/pids; wait; wait; wait")
    run = asyncio.create_task(hook.run(1))
    await until(lambda: len(pids(tmp_path / "pids")) == 2)
    began = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await until(lambda: all(over(pid) for pid in pids(tmp_path / "pids")))
    assert time.monotonic() - began < 1


async def test_a_gate_limits_how_many_commands_run_at_a_time(tmp_path: Path) -> None:
    """Ten thousand apps that get their tokens at once must not start as many processes."""
    gate = asyncio.Semaphore(1)
    count = f"mkdir {tmp_path}/running && sleep 0.05 && rmdir {tmp_path}/running"
    await asyncio.gather(*(shell(count, gate=gate).run(1) for _ in range(4)))
    assert not gate.locked()


async def test_the_wait_at_the_gate_does_not_count_towards_the_timeout() -> None:
    """A command whose turn comes late still has its whole timeout."""
    gate = asyncio.Semaphore(1)
    async with gate:
        run = asyncio.create_task(command("true", timeout=0.5, gate=gate).run(1))
        await asyncio.sleep(0.6)
    await run
