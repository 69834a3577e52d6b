"""The configuration file: from TOML to checked values, or to all its faults with their lines."""

from refresherd.config.configuration import Api, Configuration, describe, load
from refresherd.config.schema import json_schema
from refresherd.config.settings import LogTable, Shutdown

__all__ = ["Api", "Configuration", "LogTable", "Shutdown", "describe", "json_schema", "load"]
