"""The configuration file: from TOML to checked values, or to all its faults with their lines."""

from refresherd.config.configuration import Api, Configuration, load
from refresherd.config.schema import json_schema
from refresherd.config.settings import LogTable, Shutdown
from refresherd.config.source import STANDARD_INPUT
from refresherd.config.summary import describe

__all__ = [
    "STANDARD_INPUT",
    "Api",
    "Configuration",
    "LogTable",
    "Shutdown",
    "describe",
    "json_schema",
    "load",
]
