"""A configuration without faults, as the daemon is built from it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from refresherd.domain.model import App
from refresherd.domain.readiness import Ready


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
