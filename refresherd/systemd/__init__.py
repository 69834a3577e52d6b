"""The service manager: what it gave this process, and what it is told in return."""

from refresherd.systemd.activation import activated
from refresherd.systemd.fd_store import FdStore, StoredSessions
from refresherd.systemd.manager import Manager, keep_from_children, without_own
from refresherd.systemd.names import is_session
from refresherd.systemd.notify import Notifier
from refresherd.systemd.reporter import EXTENSION, Reporter
from refresherd.systemd.watchdog import Watchdog, cautions

__all__ = [
    "EXTENSION",
    "FdStore",
    "Manager",
    "Notifier",
    "Reporter",
    "StoredSessions",
    "Watchdog",
    "activated",
    "cautions",
    "is_session",
    "keep_from_children",
    "without_own",
]
