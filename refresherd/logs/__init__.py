"""The daemon's log: events as lines, without secrets, in any reader's time."""

from refresherd.logs.configuration import configure
from refresherd.logs.libraries import captured
from refresherd.logs.observer import Logs

__all__ = ["Logs", "captured", "configure"]
