"""The service manager systemd: the sockets it passes, and what it is told."""

from refresherd.adapters.systemd.activation import activated
from refresherd.adapters.systemd.reporter import EXTENSION, Reporter
from refresherd.adapters.systemd.watchdog import Watchdog, warnings

__all__ = ["EXTENSION", "Reporter", "Watchdog", "activated", "warnings"]
