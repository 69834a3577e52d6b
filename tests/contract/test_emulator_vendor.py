"""The vendor's own clients judge the emulator: the `sdkms` library and the `sdkms-cli` program."""

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from refresherd.emulator import App, Emulator, Options
from support.lab import needs

LIBRARY_PROGRAM = """
import json, sys
import sdkms.v1

host, ca_file, api_key, *certificate = sys.argv[1:]
configuration = sdkms.v1.configuration.Configuration()
configuration.host = host
configuration.ssl_ca_cert = ca_file
if certificate:
    configuration.username, configuration.cert_file, configuration.key_file = certificate
else:
    configuration.app_api_key = api_key
client = sdkms.v1.ApiClient(configuration=configuration)
authentication = sdkms.v1.AuthenticationApi(api_client=client)
keys = sdkms.v1.SecurityObjectsApi(api_client=client)

def use(token):
    configuration.api_key["Authorization"] = token
    configuration.api_key_prefix["Authorization"] = "Bearer"

def status_of(call):
    try:
        call()
    except sdkms.v1.rest.ApiException as error:
        return [error.status, error.body]
    return [200, ""]

login = authentication.authorize()
use(login.access_token)
first_listing = keys.get_security_objects()
again = authentication.re_auth()
use(again.access_token)
second_listing = keys.get_security_objects()
authentication.refresh()
authentication.check_health()
version = authentication.get_server_version()
authentication.terminate()
ended = status_of(keys.get_security_objects)
use(login.access_token)
print(json.dumps({
    "entity_id": login.entity_id,
    "expires_in": login.expires_in,
    "token_type": login.token_type,
    "tokens": [login.access_token, again.access_token],
    "listings": [first_listing, second_listing],
    "version": version.version,
    "ended": ended,
    "old": status_of(keys.get_security_objects),
}))
"""

WITHOUT_LOGIN = """
import json, sys
import sdkms.v1

host, ca_file, scheme, credential = sys.argv[1:]
configuration = sdkms.v1.configuration.Configuration()
configuration.host = host
configuration.ssl_ca_cert = ca_file
configuration.api_key["Authorization"] = credential
configuration.api_key_prefix["Authorization"] = scheme
client = sdkms.v1.ApiClient(configuration=configuration)
authentication = sdkms.v1.AuthenticationApi(api_client=client)
listing = sdkms.v1.SecurityObjectsApi(api_client=client).get_security_objects()
authentication.refresh()
print(json.dumps({"listing": listing, "entity_id": authentication.re_auth().entity_id}))
"""


@pytest.fixture
async def dsm() -> AsyncIterator[Emulator]:
    """Run an emulator with TLS, an app with an API key and one with a certificate."""
    async with Emulator(Options(tls=True, certificate_apps=1)) as emulator:
        yield emulator


@dataclass
class Finished:
    """The exit status and output of a program."""

    status: int | None
    output: str
    errors: str


async def run(program: str, *arguments: str, home: Path, **environment: str) -> Finished:
    """Run a program with a home and environment of its own; the emulator answers meanwhile."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return Finished(process.returncode, output.decode(), errors.decode())


async def run_library(
    dsm: Emulator,
    home: Path,
    *credential: str,
    program: str = LIBRARY_PROGRAM,
) -> Any:  # noqa: ANN401 - JSON
    """Run the library through a whole session, or another program; return what it saw."""
    needs(importlib.util.find_spec("sdkms"), "the sdkms library")
    finished = await run(
        sys.executable, "-c", program, dsm.url, str(dsm.ca_file), *credential, home=home
    )
    assert finished.status == 0, finished.errors
    return json.loads(finished.output)


class Cli:
    """The `sdkms-cli` program, with its token file in a home of its own."""

    def __init__(self, dsm: Emulator, home: Path) -> None:
        self._program = Path(sys.executable).with_name("sdkms-cli")
        needs(self._program.exists(), "sdkms-cli")
        self._dsm = dsm
        self._home = home

    async def run(self, *arguments: str, **environment: str) -> Finished:
        """Run one command."""
        return await run(
            str(self._program),
            "--ssl-ca-cert",
            str(self._dsm.ca_file),
            *arguments,
            home=self._home,
            FORTANIX_API_ENDPOINT=self._dsm.url,
            **environment,
        )

    async def log_in(self, app: App) -> Finished:
        """Log in with an app's API key."""
        return await self.run("app-login", FORTANIX_API_KEY=app.api_key)

    @property
    def token(self) -> str:
        """The token in its file, "" after a logout."""
        lines = (self._home / ".token").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)["app-token"]


async def test_the_library_goes_through_a_whole_session(dsm: Emulator, tmp_path: Path) -> None:
    """Its generated models and its TLS accept what DSM answers, so they judge the emulator best."""
    app = dsm.apps[0]
    seen = await run_library(dsm, tmp_path, app.api_key)
    assert seen["entity_id"] == app.id
    assert (seen["token_type"], seen["expires_in"]) == ("Bearer", 600)
    assert seen["tokens"] == dsm.sessions.tokens(app)
    assert seen["listings"] == [[], []]
    assert seen["version"]
    assert seen["ended"] == [401, "Session does not exist"]
    assert seen["old"] == [200, ""]


async def test_the_library_logs_in_with_a_certificate(dsm: Emulator, tmp_path: Path) -> None:
    """Certificate apps have no secret: the library sends their UUID and shows the certificate."""
    app = dsm.apps[1]
    issued = dsm.client_certificate(app)
    files = (str(issued.cert_file), str(issued.key_file))
    seen = await run_library(dsm, tmp_path, "", app.id, *files)
    assert seen["entity_id"] == app.id
    assert seen["ended"] == [401, "Session does not exist"]


async def test_the_library_may_use_an_api_key_without_a_login(
    dsm: Emulator, tmp_path: Path
) -> None:
    """The API description allows it, and it saves a short script the login."""
    app = dsm.apps[0]
    seen = await run_library(dsm, tmp_path, "Basic", app.api_key, program=WITHOUT_LOGIN)
    assert seen == {"listing": [], "entity_id": app.id}


async def test_the_library_uses_a_bound_session_without_its_makers_certificate(
    dsm: Emulator, tmp_path: Path
) -> None:
    """That is what bound sessions are for."""
    plain, certificate = dsm.apps
    token = dsm.sessions.open(certificate, plain).token
    seen = await run_library(dsm, tmp_path, "Bearer", token, program=WITHOUT_LOGIN)
    assert seen == {"listing": [], "entity_id": plain.id}


async def test_the_cli_logs_in_lists_keys_and_logs_out(dsm: Emulator, tmp_path: Path) -> None:
    """After the logout the very token that listed keys before is refused by the emulator."""
    cli = Cli(dsm, tmp_path)
    assert (await cli.log_in(dsm.apps[0])).status == 0
    token = cli.token
    assert token == dsm.sessions.live()[0].token
    listing = await cli.run("list-keys")
    assert (listing.status, listing.output) == (0, "")
    assert (await cli.run("app-logout")).status == 0
    assert cli.token == ""
    token_file = tmp_path / "copied"
    token_file.write_text(f"app-token={token}\n")
    listing = await cli.run("list-keys", SDKMS_CLI_TOKEN_FILE=str(token_file))
    assert listing.status == 1
    assert "401" in listing.errors
    assert "Session does not exist" in listing.errors


async def test_a_second_login_of_the_cli_ends_the_first_session(
    dsm: Emulator, tmp_path: Path
) -> None:
    """It logs out first, so anyone who shares a token with it loses theirs."""
    cli = Cli(dsm, tmp_path)
    await cli.log_in(dsm.apps[0])
    await cli.log_in(dsm.apps[0])
    assert [session.token for session in dsm.sessions.live()] == [cli.token]
    assert dsm.apps[0].counts.terminates == 1


async def test_the_cli_reports_a_wrong_key(dsm: Emulator, tmp_path: Path) -> None:
    """The program must get the refusal that DSM sends, with status and text."""
    key = dsm.apps[0].api_key
    dsm.apps.reset_secret(dsm.apps[0])
    login = await Cli(dsm, tmp_path).run("app-login", FORTANIX_API_KEY=key)
    assert login.status == 1
    assert "401" in login.errors


async def test_the_cli_logs_in_with_a_certificate(dsm: Emulator, tmp_path: Path) -> None:
    """It remembers the certificate's files beside the token and shows them with each request."""
    cli, app = Cli(dsm, tmp_path), dsm.apps[1]
    issued = dsm.client_certificate(app)
    login = await cli.run(
        "app-certificate-login",
        f"--app-id={app.id}",
        f"--certificate-path={issued.cert_file}",
        f"--key-path={issued.key_file}",
    )
    assert (login.status, app.counts.logins) == (0, 1)
    assert (await cli.run("list-keys")).status == 0
    assert (await cli.run("app-logout")).status == 0
    assert dsm.sessions.live() == []


async def test_the_cli_asks_for_health_and_version(dsm: Emulator, tmp_path: Path) -> None:
    """Operators try these two first, without logging in."""
    cli = Cli(dsm, tmp_path)
    assert (await cli.run("server-health")).status == 0
    assert (await cli.run("server-version")).status == 0
