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
"""What DSM gives an app's session unless an administrator changed it, in seconds."""


class Shutdown(StrEnum):
    """What becomes of the sessions when the daemon stops."""

    KEEP = "keep"
    TERMINATE = "terminate"


class Level(StrEnum):
    """The least severe log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Api:
    """The Unix socket that serves every app; `path` is None for none."""

    path: Path | None
    mode: int
    group: str


@dataclass(frozen=True, slots=True)
class Http:
    """Where metrics, health and the status page are served: hosts and ports, 0 for any free."""

    listen: tuple[tuple[str, int], ...]
    web_config_file: Path | None


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, and how it looks."""

    level: Level
    format: LogFormat


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a file says. `warnings` are lines for its operator, `path` is the file."""

    path: Path
    apps: tuple[App, ...]
    shutdown: Shutdown
    ready: Ready
    state_dir: Path | None
    api: Api
    http: Http
    log: Log
    warnings: tuple[str, ...]


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
