"""A daemon with every trouble that could reveal a secret, and the traces that it leaves."""

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from faults.rig.canaries import secret_half
from faults.rig.daemon import Daemon, operate
from faults.rig.gate import Gate
from faults.rig.leaking_dsm import echoing, issuing_then_leaking
from faults.rig.ports import held_port
from refresherd.emulator import Emulator, Options
from support.other_users import Identity, answer
from support.programs import PATIENCE, REFRESHERD

LEAKING_APPS = 8
"""Apps whose DSM echoes credentials, and as many whose DSM reveals tokens."""

FIRST_HALF = 80
"""The first answer that holds a key's secret half alone."""

SECONDS = 3.0

LIFETIME = 3.0

HEAD = """
[api]
path = "api.sock"
mode = "0666"
[http]
listen = ["127.0.0.1:{port}"]
[log]
level = "debug"
format = "{form}"
[dsm]
endpoint = "{dsm}"
timeout = "2s"
[refresh]
retry_min = "100ms"
retry_max = "200ms"
rejected_retry = "1s"
terminate_after = "1s"
"""

HOOKED = """
[apps.hooked]
api_key_file = "hooked.key"
[[apps.hooked.files]]
path = "hooked.token"
[[apps.hooked.files]]
path = "gone/hooked.token"
[[apps.hooked.hooks]]
command = ["{directory}/hook"]
[apps.faulty]
api_key_file = "faulty.key"
[apps.commanded]
api_key_command = ["{directory}/command"]
[apps.environment]
api_key_env = "CANARY_KEY"
"""

LDAP = """
[apps.ldap{number}]
endpoint = "{endpoint}"
acct_id = "{account}"
app_name = "ldap"
password_file = "ldap.password"
"""

HOOK = """\
#!/bin/sh
exec >>{directory}/hook.out
ls -l /proc/self/fd
env
tr '\\0' ' ' </proc/$$/cmdline
exec >/dev/null 2>&1
exit 5
"""

TALKATIVE = """\
#!/bin/sh
set -x
curl -H "Authorization: Bearer $(cat {directory}/hooked.token)" http://127.0.0.1:1/
exit 5
"""

COMMAND = """\
#!/bin/sh
echo {key}
echo 'this is no good: {key} ({half})' >&2
exit 3
"""

FAULTY = """
api_key = "{key}"
"{key}" = 1
[dsm]
endpoint = "https://{half}@amer.smartkey.io"
proxy = "http://user:hunter-2222@proxy.example.com:99999"
[apps.one]
api_key_file = "{key}"
[apps.two]
api_key_file = "two.key"
[apps.three]
api_key_env = "{key}"
token_file = "{half}"
[apps."{key}"]
key = "{half}"
[[apps.two.files]]
path = "{half}"
mode = "{key}"
owner = "{half}"
format = "{key}"
"""


@dataclass(slots=True)
class Traces:
    """The text found in each place, and the secrets that must not be in it."""

    places: dict[str, str]
    secrets: list[str] = field(default_factory=list)
    open_to_others: list[str] = field(default_factory=list)
    """Files that hold a token and that other users may read."""


def some_key() -> str:
    """Return an API key in DSM's format."""
    secret = b64encode(os.urandom(64), altchars=b"-_").decode().rstrip("=")
    return b64encode(f"{uuid4()}:{secret}".encode()).decode()


async def trail(directory: Path, form: str) -> Traces:
    """Run a daemon in all these troubles, kill it, and return the traces."""
    short = b64encode(f"{uuid4()}:canary-{os.urandom(6).hex()}".encode()).decode()
    options = Options(apps=2 * LEAKING_APPS + 4, api_keys=(short,), lifetime=LIFETIME)
    async with Emulator(options) as dsm, _gates(dsm) as gates:
        keys = [app.api_key for app in dsm.apps]
        password = f'open "{os.urandom(8).hex()}" \\ sésame {os.urandom(8).hex()}'
        dsm.apps.add("ldap", ldap=True, password=password)
        daemon = Daemon(directory, ("env", f"CANARY_KEY={keys[-1]}", "PYTHONASYNCIODEBUG=1"))
        _place(daemon, dsm.url, gates, keys, form)
        _place_ldap(daemon, gates, dsm.apps.account_id, password)
        await daemon.start()
        try:
            await daemon.listening()
            await asyncio.sleep(1)
            _break_files(directory, keys)
            await operate(directory / "api.sock", "hooked")
            found = Traces(await _looked(daemon))
        finally:
            await daemon.kill()
        found.places["log"] = daemon.log.read_text()
        found.places["hook"] = (directory / "hook.out").read_text()
        tokens = dsm.sessions.tokens()
        found.secrets = [*keys, *map(secret_half, keys), password, *tokens]
        found.open_to_others = _open_to_others(directory, tokens)
        return found


async def broken(directory: Path, program: tuple[str, ...], *, ends: bool) -> tuple[str, list[str]]:
    """Run a daemon with a bug, which `ends` it or not; return its log and the secrets."""
    async with Emulator(Options(lifetime=LIFETIME)) as dsm:
        key = directory / "app.key"
        key.touch(mode=0o600)
        key.write_text(dsm.apps[0].api_key)
        config = directory / "config.toml"
        output = '[apps.app]\napi_key_file = "app.key"\n[[apps.app.files]]\npath = "app.token"\n'
        head = HEAD.format(port=0, form="json", dsm=dsm.url)
        config.write_text(head + output)
        log = directory / "log"
        environ = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1", "PYTHONFAULTHANDLER": "1"}
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *(*program, "run", "--config", str(config)),
                stderr=stream,
                env={**os.environ, **environ},
            )
        try:
            await _done(process, log, ends=ends)
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), PATIENCE)
        secrets = [dsm.apps[0].api_key, *dsm.sessions.tokens()]
        return log.read_text(), secrets


async def _done(process: asyncio.subprocess.Process, log: Path, *, ends: bool) -> None:
    """Return once the process has ended or, if it goes on, has logged the last of the errors."""
    async with asyncio.timeout(PATIENCE):
        if ends:
            await process.wait()
        while not ends and "ValueError" not in log.read_text():  # noqa: ASYNC110  # nothing signals this
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _gates(dsm: Emulator) -> AsyncIterator[list[Gate]]:
    port = int(dsm.url.rpartition(":")[2])
    troubles = [echoing(10 * n) for n in range(LEAKING_APPS)]
    troubles += [issuing_then_leaking(n) for n in range(LEAKING_APPS)]
    troubles.append(echoing(FIRST_HALF))
    async with AsyncExitStack() as stack:
        gates = [Gate(port, stack.enter_context(held_port())) for _ in troubles]
        for gate, trouble in zip(gates, troubles, strict=True):
            await gate.open()
            stack.callback(gate.close)
            gate.trouble = trouble
        yield gates


def _place(daemon: Daemon, dsm: str, gates: list[Gate], keys: list[str], form: str) -> None:
    """Write the configuration and the files that it names."""
    directory = daemon.directory
    lines = [HEAD.format(port=daemon.port, form=form, dsm=dsm), HOOKED.format(directory=directory)]
    leaking = (f"leaking{number}" for number in range(2 * LEAKING_APPS))
    names = ["short", "hooked", "faulty", *leaking]
    for name, key in zip(names, keys, strict=False):
        file = directory / f"{name}.key"
        file.touch(mode=0o600)
        file.write_text(key)
    lines += [
        f'[apps.{name}]\nendpoint = "{gate.url}"\napi_key_file = "{name}.key"\n'
        for name, gate in [("short", gates[-1]), *zip(names[3:], gates, strict=False)]
    ]
    _script(directory / "hook", HOOK.format(directory=directory))
    commanded = keys[-2]
    half = secret_half(commanded)
    _script(directory / "command", COMMAND.format(key=commanded, half=half))
    (directory / "gone").mkdir()
    daemon.config.write_text("".join(lines))


def _place_ldap(daemon: Daemon, gates: list[Gate], account: str, password: str) -> None:
    """Add LDAP apps to the configuration, whose DSM echoes or reveals as for the others."""
    file = daemon.directory / "ldap.password"
    file.touch(mode=0o600)
    file.write_text(password + "\n")
    with daemon.config.open("a") as config:
        for number, gate in enumerate(gates):
            config.write(LDAP.format(number=number, endpoint=gate.url, account=account))


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o700)


def _break_files(directory: Path, keys: list[str]) -> None:
    """Break what worked at the start."""
    (directory / "faulty.key").write_text(f"{keys[2]}\n{keys[2]}\n")
    (directory / "gone" / "hooked.token").unlink(missing_ok=True)
    (directory / "gone").rename(directory / "went")
    (directory / "gone").write_text("in the way")
    _script(directory / "hook.new", TALKATIVE.format(directory=directory))
    (directory / "hook.new").replace(directory / "hook")


async def _looked(daemon: Daemon) -> dict[str, str]:
    """Return everything that the daemon shows during some seconds."""
    api = daemon.directory / "api.sock"
    found: dict[str, str] = {}
    until = asyncio.get_running_loop().time() + SECONDS
    while asyncio.get_running_loop().time() < until:
        for page in ("/metrics", "/readyz", "/readyz/hooked", "/"):
            found[page] = found.get(page, "") + await daemon.page(page)
        found["status"] = found.get("status", "") + await _printed("status", "--socket", str(api))
        found["json"] = found.get("json", "") + await _printed(
            "status", "--json", "--socket", str(api)
        )
    found["check"] = await _printed("check", "--config", str(daemon.config))
    found["cmdline"] = Path(f"/proc/{daemon.pid}/cmdline").read_text()
    get = "GET /v1/apps/{}/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for name in ("hooked", "short"):
        found[f"refused {name}"] = await asyncio.to_thread(
            answer, api, get.format(name), Identity(uid="65533")
        )
    return found


async def _printed(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(REFRESHERD, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await process.communicate())[0].decode()


def _open_to_others(directory: Path, tokens: list[str]) -> list[str]:
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "log"]
    return [
        str(path)
        for path in files
        if path.stat().st_mode & 0o077
        and any(token.encode() in path.read_bytes() for token in tokens)
    ]
