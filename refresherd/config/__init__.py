"""The configuration file: TOML to checked values, with every fault and its line at once."""

from refresherd.config.configuration import Api, Configuration, describe, load
from refresherd.config.schema import json_schema
from refresherd.config.settings import LogTable, Shutdown

__all__ = ["Api", "Configuration", "LogTable", "Shutdown", "describe", "json_schema", "load"]
