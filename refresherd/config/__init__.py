"""The configuration file: TOML in, checked values out, every fault at once with its line."""

from refresherd.config.configuration import (
    Api,
    Configuration,
    Http,
    Level,
    Log,
    LogFormat,
    Shutdown,
)
from refresherd.config.describe import describe
from refresherd.config.loader import load
from refresherd.config.schema import json_schema
from refresherd.domain.readiness import Ready

__all__ = [
    "Api",
    "Configuration",
    "Http",
    "Level",
    "Log",
    "LogFormat",
    "Ready",
    "Shutdown",
    "describe",
    "json_schema",
    "load",
]
