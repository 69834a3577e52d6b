"""The service manager: what it gave this process, and what it is told in return."""

from refresherd.systemd.manager import Manager, without_own
from refresherd.systemd.notify import Notifier
from refresherd.systemd.reporter import Reporter
from refresherd.systemd.watchdog import Watchdog, caution

__all__ = ["Manager", "Notifier", "Reporter", "Watchdog", "caution", "without_own"]
