"""The configuration file: TOML to checked values, with every fault and its line at once."""

from refresherd.config.configuration import Api, Configuration, Log, Shutdown, describe
from refresherd.config.loader import load
from refresherd.config.schema import json_schema

__all__ = ["Api", "Configuration", "Log", "Shutdown", "describe", "json_schema", "load"]
