"""A configuration without faults, as the daemon is built from it, and its description."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    Credential,
    TokenFile,
)
from refresherd.domain.readiness import Ready
from refresherd.domain.timing import outage_budget

USUAL_LIFETIME = 600.0
"""The lifetime of an app's session in seconds, unless an administrator of DSM has changed it."""


class Shutdown(StrEnum):
    """What happens to sessions when the daemon stops."""

    KEEP = "keep"
    TERMINATE = "terminate"


class Level(StrEnum):
    """The lowest severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Api:
    """The Unix socket that serves every app."""

    path: Path | None
    """None if the socket is turned off."""
    mode: int
    group: str


@dataclass(frozen=True, slots=True)
class Http:
    """Where metrics, health and the status page are served."""

    listen: tuple[tuple[str, int], ...]
    """Hosts and ports; port 0 means any free port."""
    web_config_file: Path | None


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, and how."""

    level: Level
    format: LogFormat


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration file without faults."""

    path: Path
    """The file's absolute path."""
    apps: tuple[App, ...]
    shutdown: Shutdown
    ready: Ready
    state_dir: Path | None
    api: Api
    http: Http
    log: Log
    warnings: tuple[str, ...]
    """Lines for the operator, written as faults are."""


def describe(configuration: Configuration) -> list[str]:
    """Return lines for `check` about each app, its outputs and its outage budget; no secrets."""
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
