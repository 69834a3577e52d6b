"""Credential sources that need no disk and no process."""

from base64 import b64decode
from pathlib import Path

import pytest

from refresherd.adapters.credentials import source
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyCommand, ApiKeyEnv, App, Certificate, Credential, Endpoint
from refresherd.engine.ports import CredentialSource
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import API_KEY, ENTITY_ID


def source_of(credential: Credential, environ: dict[str, str] | None = None) -> CredentialSource:
    """Return the source of an app with this credential."""
    app = App("payments", Endpoint("https://amer.smartkey.io"), credential)
    return source(app, environ or {}, KeyedExecutor())


async def test_a_variable_holds_an_api_key() -> None:
    """Containers get their secrets this way. Nobody can change it from outside: no stamp."""
    variable = source_of(ApiKeyEnv("FORTANIX_API_KEY"), {"FORTANIX_API_KEY": API_KEY})
    assert variable.entity_id == ""
    assert (await variable.read()).reveal() == API_KEY
    assert variable.entity_id == ENTITY_ID
    assert await variable.stamp() is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "it is not set"),
        ({"KEY": " "}, "it is empty; it must hold an API key (base64)"),
        ({"KEY": "\udcff"}, "it must hold an API key (base64) and nothing else, on one line"),
    ],
)
async def test_the_message_for_an_unusable_variable_names_it(
    environ: dict[str, str], message: str
) -> None:
    """The operator has to know which variable to correct."""
    with pytest.raises(Retryable) as caught:
        await source_of(ApiKeyEnv("KEY"), environ).read()
    assert caught.value.reason is Reason.CREDENTIAL
    assert caught.value.message == f"environment variable KEY: {message}"


async def test_a_certificate_app_logs_in_by_uuid_and_empty_password() -> None:
    """DSM wants both, and authenticates the app by the certificate in the handshake."""
    certificate = source_of(Certificate(ENTITY_ID.upper(), Path("app.pem"), Path("app.key")))
    secret = await certificate.read()
    assert b64decode(secret.reveal()).decode() == f"{ENTITY_ID.upper()}:"
    assert certificate.entity_id == ENTITY_ID


async def test_a_command_has_no_stamp() -> None:
    """Only running it would show a change, and it may ask for a password."""
    command = source_of(ApiKeyCommand(("pass", "dsm")))
    assert await command.stamp() is None
    assert command.entity_id == ""
