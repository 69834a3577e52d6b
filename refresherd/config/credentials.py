"""An app's credential: exactly one, all of it, and with what it needs from the environment."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from refresherd.config.credential_formats import api_key_fault
from refresherd.config.findings import Finding, listed, quoted
from refresherd.config.parse import AppSettings, Settings
from refresherd.config.settings import RootTable
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    Certificate,
    Credential,
    TokenFile,
)

Environ = Mapping[str, str]

SINGLE = ("api_key_file", "api_key_credential", "api_key_env", "api_key_command", "token_file")
"""Keys that are a credential by themselves."""

CERTIFICATE = ("app_id", "cert_file", "key_file")
"""Keys that are a credential together."""


def state_dir(root: RootTable, environ: Environ) -> Path | None:
    """Return the configured state directory, else the first that systemd has made, else None."""
    if root.state_dir:
        return root.state_dir.path
    # Several directories are separated by colons: systemd.exec(5), StateDirectory=.
    first = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(first) if first else None


def credentials_directory(environ: Environ) -> Path | None:
    """Return the directory of the service's systemd credentials, None if it has none."""
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    return Path(directory) if directory else None


def check_credentials(settings: Settings, environ: Environ) -> Iterator[Finding]:
    """Yield apps without exactly one credential, and credentials that lack what they need."""
    stateless = state_dir(settings.root, environ) is None and settings.valid(("state_dir",))
    for app in settings.apps:
        yield from _check_count(settings, app)
        yield from _check_variable(app, environ)
        if app.own.api_key_credential and credentials_directory(environ) is None:
            yield Finding(
                (*app.path, "api_key_credential"),
                "$CREDENTIALS_DIRECTORY is not set; systemd sets it for services with "
                "LoadCredential=; elsewhere, use api_key_file",
            )
        if app.own.token_file and stateless:
            yield Finding(
                (*app.path, "token_file"),
                "the newest session has to be saved for the next start; set state_dir, or "
                "StateDirectory= in the systemd unit",
            )


def credential_of(app: AppSettings, environ: Environ) -> Credential:
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


def _check_count(settings: Settings, app: AppSettings) -> Iterator[Finding]:
    written = [key for key in app.written if key in SINGLE or key in CERTIFICATE]
    # An invalid value counts: it was meant to be a credential.
    named = [
        key for key in written if getattr(app.own, key) or not settings.valid((*app.path, key))
    ]
    single = [key for key in named if key in SINGLE]
    certificate = [key for key in named if key in CERTIFICATE]
    if not named:
        yield Finding(
            (*app.path, *written[:1]),
            f"no credential; write one of {', '.join(SINGLE)}, or {listed(CERTIFICATE, 'and')}",
        )
    credentials = single + certificate[:1]
    if len(credentials) > 1:
        yield Finding(
            (*app.path, credentials[-1]),
            f"{listed(credentials, 'and')} are set together; keep exactly one credential",
        )
    lacking = [key for key in CERTIFICATE if key not in certificate]
    if certificate and lacking:
        yield Finding(
            (*app.path, certificate[0]),
            f"missing: {listed(lacking, 'and')}; a certificate app needs "
            f"{listed(CERTIFICATE, 'and')}",
        )


def _check_variable(app: AppSettings, environ: Environ) -> Iterator[Finding]:
    variable = app.own.api_key_env
    if not variable:
        return
    path = (*app.path, "api_key_env")
    value = environ.get(variable)
    if value is None:
        yield Finding(
            path,
            f"the environment variable {quoted(variable)} is not set; set it (systemd: "
            "EnvironmentFile=), or name another one",
        )
    elif fault := api_key_fault(value.encode(errors="surrogateescape")):
        yield Finding(path, f"the value of {quoted(variable)}: {fault}")
