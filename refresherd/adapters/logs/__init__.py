"""The daemon's log: events as lines, without secrets, in any reader's time."""

from refresherd.adapters.logs.configuration import configure
from refresherd.adapters.logs.libraries import captured
from refresherd.adapters.logs.observer import Logs

__all__ = ["Logs", "captured", "configure"]
