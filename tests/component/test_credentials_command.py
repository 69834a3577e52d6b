"""API keys that real commands print."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from refresherd.adapters.credentials import source
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyCommand, App, Endpoint
from refresherd.engine.ports import CredentialSource
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import API_KEY, ENTITY_ID
from support.processes import over, pids, until


def shell(
    script: str, environ: dict[str, str] | None = None, timeout: float = 20.0
) -> CredentialSource:
    """Return the source of an app whose key a shell script prints."""
    return made(("/bin/sh", "-c", script), environ, timeout)


def made(
    argv: tuple[str, ...], environ: dict[str, str] | None = None, timeout: float = 20.0
) -> CredentialSource:
    """Return the source of an app whose key a command prints."""
    endpoint = Endpoint("https://amer.smartkey.io", timeout=timeout)
    app = App("payments", endpoint, ApiKeyCommand(argv))
    return source(app, {"PATH": os.environ["PATH"], **(environ or {})}, KeyedExecutor())


async def fault(credential: CredentialSource) -> str:
    """Return why the credential cannot be read."""
    with pytest.raises(Retryable) as caught:
        await credential.read()
    assert caught.value.reason is Reason.CREDENTIAL
    return caught.value.message


async def test_what_a_command_prints_is_the_key() -> None:
    """Password managers and clouds hand out secrets so."""
    key = shell(f"echo fetching >&2; echo {API_KEY}")
    assert (await key.read()).reveal() == API_KEY
    assert key.entity_id == ENTITY_ID


async def test_a_command_runs_with_the_environment_and_without_input() -> None:
    """It needs HOME and the like; one that asks for a password must not wait for ever."""
    key = shell('cat; printf %s "$STORED"', {"STORED": API_KEY})
    assert (await key.read()).reveal() == API_KEY


async def test_long_output_on_standard_error_is_no_trouble() -> None:
    """A verbose command would block on a full pipe if nobody read it."""
    key = shell(f"head -c 300000 /dev/zero >&2; echo {API_KEY}")
    assert (await key.read()).reveal() == API_KEY


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo first >&2; echo 'gpg: no key\a ' >&2; echo >&2; exit 2",
            "exit status 2: gpg: no key",
        ),
        ("exit 3", "exit status 3"),
        ("printf 'no key: %0300d' 7 >&2; exit 1", "exit status 1: no key: …"),
        ("kill -TERM $$", "killed by signal 15"),
        ("true", "empty"),
        ("echo hunter2 and more", "not an API key (base64) on one line"),
        (f"echo {API_KEY}; echo 'bad: {API_KEY}' >&2; exit 2", "exit status 2: bad: ***"),
        (f"echo '+ login {API_KEY}' >&2; exit 2", "exit status 2: + login ***"),
        ("echo user hunter-2222; echo 'no hunter-2222' >&2; exit 2", "exit status 2: no ***"),
        ("yes", "over 65536 bytes, which an API key (base64) never has"),
    ],
)
async def test_a_failed_command_is_told_with_its_last_words(script: str, message: str) -> None:
    """What it complained of is what the operator mends; what it printed may be a secret."""
    assert await fault(shell(script)) == f"/bin/sh: {message}"


async def test_a_command_that_is_not_there_is_named() -> None:
    """A typing error in the configuration, or a package that is missing on this host."""
    assert (
        await fault(made(("/nonexistent/pass",))) == "/nonexistent/pass: No such file or directory"
    )


async def test_a_hanging_command_is_killed_with_its_children(tmp_path: Path) -> None:
    """One login attempt after the other would leave a heap of them; `timeout` bounds each."""
    hanging = shell(f"sleep 60 & echo $$ $! > {tmp_path}/pids; wait", timeout=0.3)
    assert await fault(hanging) == "/bin/sh: not done within 0.3 s"
    running = pids(tmp_path / "pids")
    assert len(running) == 2
    await until(lambda: all(over(pid) for pid in running))


async def test_a_cancelled_read_leaves_no_process_behind(tmp_path: Path) -> None:
    """A stop or a reload must not wait for a command, nor forget it."""
    read = asyncio.create_task(shell(f"sleep 60 & echo $$ $! > {tmp_path}/pids; wait").read())
    await until(lambda: len(pids(tmp_path / "pids")) == 2)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    await until(lambda: all(over(pid) for pid in pids(tmp_path / "pids")))


async def test_children_that_live_on_hold_nothing_up(
    tmp_path: Path,
) -> None:
    """A password agent that a command starts may keep its output open, and lives on."""
    key = shell(f"sleep 60 & echo $! > {tmp_path}/pids; echo {API_KEY}")
    assert (await key.read()).reveal() == API_KEY
    (agent,) = pids(tmp_path / "pids")
    assert not over(agent)
    os.kill(agent, signal.SIGKILL)
