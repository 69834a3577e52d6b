"""The configuration file: from TOML to checked values, or to all its faults with their lines."""

from refresherd.config.configuration import Api, Configuration, Http, load
from refresherd.config.schema import json_schema
from refresherd.config.settings import LogTable, Shutdown
from refresherd.config.source import STANDARD_INPUT
from refresherd.config.summary import describe
from refresherd.config.web_file import read_web_config

__all__ = [
    "STANDARD_INPUT",
    "Api",
    "Configuration",
    "Http",
    "LogTable",
    "Shutdown",
    "describe",
    "json_schema",
    "load",
    "read_web_config",
]
