"""The daemon's log: events as lines, without secrets, at a bounded rate."""

from refresherd.adapters.logs.observer import Logs, captured
from refresherd.adapters.logs.pipeline import configure

__all__ = ["Logs", "captured", "configure"]
