"""API keys from the output of real commands."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from refresherd.adapters.credentials.sources import source
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
    return command(("/bin/sh", "-c", script), environ, timeout)


def command(
    argv: tuple[str, ...], environ: dict[str, str] | None = None, timeout: float = 20.0
) -> CredentialSource:
    """Return the source of an app whose key a command prints."""
    endpoint = Endpoint("https://amer.smartkey.io", timeout=timeout)
    app = App("payments", endpoint, ApiKeyCommand(argv))
    return source(app, {"PATH": os.environ["PATH"], **(environ or {})}, KeyedExecutor())


async def fault(credential: CredentialSource) -> str:
    """Return the message for a credential that cannot be read."""
    with pytest.raises(Retryable) as caught:
        await credential.read()
    assert caught.value.reason is Reason.CREDENTIAL
    return caught.value.message


async def test_a_command_prints_the_key() -> None:
    """Password managers and cloud tools hand out secrets this way."""
    key = shell(f"echo fetching >&2; echo {API_KEY}")
    assert (await key.read()).reveal() == API_KEY
    assert key.entity_id == ENTITY_ID


async def test_a_command_runs_with_the_environment_and_without_input() -> None:
    """A command needs VAULT_ADDR, for instance, and must not wait for ever for a password."""
    parts = {"FIRST": API_KEY[:20], "SECOND": API_KEY[20:]}
    key = shell('cat; printf %s "$FIRST$SECOND"', parts)
    assert (await key.read()).reveal() == API_KEY


async def test_a_command_gets_no_other_app_s_key() -> None:
    """Whoever may change one app's command must not learn every key of the daemon."""
    others = {"ORDERS": API_KEY, "PADDED": f" {API_KEY}\n", "SDKMS_API_KEY": "x"}
    wanted = {"FORTANIX_API_KEY": "x", "VAULT_ADDR": "https://vault", "VAULT_TOKEN": "hvs.1"}
    kept = shell('echo "$VAULT_ADDR $VAULT_TOKEN" >&2; exit 1', {**others, **wanted})
    assert await fault(kept) == "api_key_command /bin/sh: exit status 1: https://vault hvs.1"
    found = shell("env | grep -cE '^(ORDERS|PADDED|SDKMS|FORTANIX)' >&2; exit 1", others | wanted)
    assert await fault(found) == "api_key_command /bin/sh: exit status 1: 0"


async def test_long_output_on_standard_error_does_not_block() -> None:
    """A verbose command would block on a full pipe if nobody read from it."""
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
        ("true", "it is empty; it must hold the API key"),
        (
            "echo hunter2 and more",
            "it holds more than one word or line; keep only the value itself",
        ),
        (f"echo {API_KEY}; echo 'bad: {API_KEY}' >&2; exit 2", "exit status 2: bad: ***"),
        (f"echo '+ login {API_KEY}' >&2; exit 2", "exit status 2: + login ***"),
        ("echo user hunter-2222; echo 'no hunter-2222' >&2; exit 2", "exit status 2: no ***"),
        ("yes", "it is longer than 65536 bytes, so it is not an API key"),
    ],
)
async def test_the_message_for_a_failed_command_quotes_its_last_line(
    script: str, message: str
) -> None:
    """The operator needs its complaint, and must not see its output, which may be a secret."""
    assert await fault(shell(script)) == f"api_key_command /bin/sh: {message}"


async def test_the_message_for_a_missing_command_names_it() -> None:
    """The configuration has a typing error, or a package is missing on this host."""
    assert await fault(command(("/nonexistent/pass",))) == (
        "api_key_command /nonexistent/pass: No such file or directory; install it, and it is run "
        "at once"
    )


async def test_a_hanging_command_is_killed_with_its_children(tmp_path: Path) -> None:
    """Otherwise each login attempt would leave one behind."""
    hanging = shell(f"sleep 60 & echo $$ $! > {tmp_path}/pids; wait", timeout=0.3)
    assert await fault(hanging) == (
        "api_key_command /bin/sh: it did not finish within 0.3 s, and was ended"
    )
    running = pids(tmp_path / "pids")
    assert len(running) == 2
    await until(lambda: all(over(pid) for pid in running))


async def test_a_cancelled_read_leaves_no_process_behind(tmp_path: Path) -> None:
    """A stop or a reload must neither wait for a command nor leave it running."""
    read = asyncio.create_task(shell(f"sleep 60 & echo $$ $! > {tmp_path}/pids; wait").read())
    await until(lambda: len(pids(tmp_path / "pids")) == 2)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    await until(lambda: all(over(pid) for pid in pids(tmp_path / "pids")))


async def test_a_background_process_of_a_command_lives_on(tmp_path: Path) -> None:
    """A password agent keeps the output open, which must not hold up the login."""
    key = shell(f"sleep 60 & echo $! > {tmp_path}/pids; echo {API_KEY}")
    assert (await key.read()).reveal() == API_KEY
    (agent,) = pids(tmp_path / "pids")
    assert not over(agent)
    os.kill(agent, signal.SIGKILL)
