"""Which source is whose: by the kind of an app's credential."""

from collections.abc import Mapping
from typing import assert_never

from refresherd.adapters.credentials.command import CommandSource
from refresherd.adapters.credentials.environment import EnvSource
from refresherd.adapters.credentials.files import CertificateSource, FileSource
from refresherd.adapters.credentials.parse import api_key, bearer_token
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    TokenFile,
)
from refresherd.engine.ports import CredentialSource
from refresherd.host.keyed_executor import KeyedExecutor


def source(app: App, environ: Mapping[str, str], executor: KeyedExecutor) -> CredentialSource:
    """Return where the app's credential is read, anew each time. A command gets `environ`."""
    credential = app.credential
    match credential:
        case ApiKeyFile(path):
            return FileSource(path, api_key, executor)
        case TokenFile(path):
            return FileSource(path, bearer_token, executor)
        case ApiKeyEnv(variable):
            return EnvSource(variable, environ)
        case ApiKeyCommand(argv):
            return CommandSource(argv, environ, app.endpoint.timeout)
        case Certificate():
            return CertificateSource(credential, executor)
        case _:
            assert_never(credential)
