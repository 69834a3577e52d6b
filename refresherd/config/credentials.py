"""Exactly one credential for each app, and what it needs from the environment."""

from refresherd.config.document import AppDocument, Document
from refresherd.config.environment import Environ, credentials_directory, state_dir
from refresherd.config.findings import Findings
from refresherd.config.keys import api_key_fault
from refresherd.config.wording import listed, quoted
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    Certificate,
    Credential,
    TokenFile,
)

ALONE = ("api_key_file", "api_key_credential", "api_key_env", "api_key_command", "token_file")
CERTIFICATE = ("app_id", "cert_file", "key_file")


def check_credentials(document: Document, environ: Environ, faults: Findings) -> None:
    """Take note of apps with no credential or several, and of what those need and lack."""
    stateless = state_dir(document.root, environ) is None and ("state_dir",) not in faults
    for app in document.apps:
        _check_count(app, faults)
        _check_env(app, environ, faults)
        if app.own.api_key_credential and credentials_directory(environ) is None:
            faults.add(
                (*app.path, "api_key_credential"),
                "$CREDENTIALS_DIRECTORY is not set; systemd sets it for services with "
                "LoadCredential=, elsewhere use api_key_file",
            )
        if app.own.token_file and stateless:
            faults.add(
                (*app.path, "token_file"),
                "the token changes with each refresh and has to outlive a restart; set state_dir, "
                "or StateDirectory= in the systemd unit",
            )


def credential_of(app: AppDocument, environ: Environ) -> Credential:
    """Return the credential of an app without faults."""
    own, directory = app.own, credentials_directory(environ)
    if own.api_key_file:
        return ApiKeyFile(own.api_key_file.path)
    if own.api_key_credential and directory is not None:
        return ApiKeyFile(directory / own.api_key_credential)
    if own.api_key_env:
        return ApiKeyEnv(str(own.api_key_env))
    if own.token_file:
        return TokenFile(own.token_file.path)
    if own.app_id:
        return Certificate(str(own.app_id), own.cert_file.path, own.key_file.path)
    return ApiKeyCommand(tuple(map(str, own.api_key_command)))


def _check_count(app: AppDocument, faults: Findings) -> None:
    given = [key for key in app.given if key in ALONE or key in CERTIFICATE]
    # A faulty one was meant to be one.
    named = [key for key in given if getattr(app.own, key) or (*app.path, key) in faults]
    alone = [key for key in named if key in ALONE]
    certificate = [key for key in named if key in CERTIFICATE]
    if not named:
        faults.add(
            (*app.path, *given[:1]),
            f"no credential; write one of {', '.join(ALONE)}, or {listed(CERTIFICATE, 'and')}",
        )
    found = alone + certificate[:1]
    if len(found) > 1:
        faults.add(
            (*app.path, found[-1]),
            f"{listed(found, 'and')} stand side by side; keep exactly one credential",
        )
    lacking = [key for key in CERTIFICATE if key not in certificate]
    if certificate and lacking:
        faults.add(
            (*app.path, certificate[0]),
            f"{listed(lacking, 'and')} missing; a certificate app needs "
            f"{listed(CERTIFICATE, 'and')}",
        )


def _check_env(app: AppDocument, environ: Environ, faults: Findings) -> None:
    variable = app.own.api_key_env
    if not variable:
        return
    path = (*app.path, "api_key_env")
    value = environ.get(variable)
    if value is None:
        faults.add(
            path,
            f"there is no variable {quoted(variable)} in this environment; set it (systemd: "
            "EnvironmentFile=), or name another",
        )
    elif fault := api_key_fault(value.encode(errors="surrogateescape")):
        faults.add(path, f"the value of {quoted(variable)}: {fault}")
