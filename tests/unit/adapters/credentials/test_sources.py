"""Where an app's credential comes from, as far as that needs no disk and no process."""

from base64 import b64decode
from pathlib import Path

import pytest

from refresherd.adapters.credentials import source
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyCommand, ApiKeyEnv, App, Certificate, Credential, Endpoint
from refresherd.engine.ports import CredentialSource
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import API_KEY, ENTITY_ID


def made(credential: Credential, environ: dict[str, str] | None = None) -> CredentialSource:
    """Return the source of an app with such a credential."""
    app = App("payments", Endpoint("https://amer.smartkey.io"), credential)
    return source(app, environ or {}, KeyedExecutor())


async def test_a_variable_holds_an_api_key() -> None:
    """Containers get their secrets so; nobody can change it from outside, so it has no stamp."""
    variable = made(ApiKeyEnv("FORTANIX_API_KEY"), {"FORTANIX_API_KEY": API_KEY})
    assert variable.entity_id == ""
    assert (await variable.read()).reveal() == API_KEY
    assert variable.entity_id == ENTITY_ID
    assert await variable.stamp() is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "environment variable KEY: not set"),
        ({"KEY": " "}, "environment variable KEY: empty"),
        ({"KEY": "\udcff"}, "environment variable KEY: not an API key (base64) on one line"),
    ],
)
async def test_a_variable_of_no_use_is_named(environ: dict[str, str], message: str) -> None:
    """The operator looks for its name."""
    with pytest.raises(Retryable) as caught:
        await made(ApiKeyEnv("KEY"), environ).read()
    assert caught.value.reason is Reason.CREDENTIAL
    assert caught.value.message == message


async def test_a_certificate_app_sends_its_name_and_an_empty_password() -> None:
    """DSM takes it so; the certificate in the handshake is the proof."""
    certificate = made(Certificate(ENTITY_ID.upper(), Path("app.pem"), Path("app.key")))
    secret = await certificate.read()
    assert b64decode(secret.reveal()).decode() == f"{ENTITY_ID.upper()}:"
    assert certificate.entity_id == ENTITY_ID


async def test_a_command_has_no_stamp() -> None:
    """Only running it would tell, and that may cost a password prompt."""
    command = made(ApiKeyCommand(("pass", "dsm")))
    assert await command.stamp() is None
    assert command.entity_id == ""
