"""What `check` tells of a configuration without faults."""

from collections.abc import Iterator
from typing import assert_never

from refresherd.config.configuration import Configuration
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    Credential,
    TokenFile,
)
from refresherd.domain.timing import outage_budget

USUAL_LIFETIME = 600.0
"""What DSM gives an app's session unless an administrator changed it, in seconds."""


def describe(configuration: Configuration) -> list[str]:
    """Return lines about the apps, their outputs and their outage budgets; no secrets."""
    return [line for app in configuration.apps for line in _app(app)]


def _app(app: App) -> Iterator[str]:
    share = 1 - app.timing.at
    usual = outage_budget(USUAL_LIFETIME, app.timing)
    credential = _credential(app.credential)
    yield f"{app.name}: {credential}, {app.endpoint.url}, renewed by {app.timing.renew}"
    for file in app.files:
        yield f"  file {file.path}: {file.format}, mode {file.ownership.mode:04o}"
    for socket in app.sockets:
        yield f"  socket {socket.path}: {socket.format}, mode {socket.ownership.mode:04o}"
    if not app.files and not app.sockets:
        yield "  no outputs"
    yield (
        f"  outage budget: {share:.0%} of a token's lifetime, "
        f"{usual:g} s of the usual {USUAL_LIFETIME:g} s"
    )


def _credential(credential: Credential) -> str:
    match credential:
        case ApiKeyFile():
            return "an API key in a file"
        case ApiKeyEnv():
            return "an API key in the environment"
        case ApiKeyCommand():
            return "an API key from a command"
        case TokenFile():
            return "a bearer token in a file"
        case Certificate():
            return "a certificate"
        case _:
            assert_never(credential)
