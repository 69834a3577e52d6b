"""The service manager's file descriptor store: it holds descriptors while the daemon restarts.

sd_pid_notify_with_fds(3): FDSTORE=1 adds a descriptor under FDNAME=, FDSTOREREMOVE=1 removes all
of that name. The next run gets them as it gets the sockets of socket units: as descriptors with
names (`service_manager.Manager.passed`). systemd empties the store when the service stops, but not
when it is restarted or crashes.
"""

from collections.abc import Iterable
from threading import Lock

from refresherd.host.service_manager import Notifier

MAX_SESSIONS = 20_000
"""Entries for sessions, with names of 5 characters. The next run gets all names in one variable,
LISTEN_FDNAMES. execve(2) takes no variable of over 128 KiB (MAX_ARG_STRLEN), so with more entries
the daemon could not be started any more."""

MAX_SOCKETS = 800
"""Entries for listening sockets, with names of 12 characters: as many as still fit."""


class FdStore:
    """The entries of one kind. Threads may share it."""

    def __init__(self, notifier: Notifier, max_entries: int) -> None:
        self._notifier = notifier
        self.max_entries = max_entries
        self._names: set[str] = set()
        """The names in use, including those in `_unwanted`."""
        self._unwanted: list[str] = []
        """Names to be removed as soon as systemd takes messages."""
        self._lock = Lock()

    @property
    def full(self) -> bool:
        """Whether `add` would refuse a new entry."""
        return len(self._names) >= self.max_entries

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def adopt(self, name: str) -> None:
        """Take over an entry of an earlier run."""
        self._names.add(name)

    def add(self, name: str, descriptor: int) -> bool:
        """Add a descriptor; return False if the store is full or systemd takes no message now."""
        with self._lock:
            if self.full:
                return False
            # FDPOLL=0: otherwise systemd removes a descriptor whose other end hangs up.
            message = ("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0")
            sent = self._notifier.send(*message, descriptors=[descriptor])
            if sent:
                self._names.add(name)
            return sent

    def remove(self, names: Iterable[str]) -> None:
        """Remove entries, now or, if systemd takes no message now, with a later call."""
        with self._lock:
            self._unwanted += names
            while self._unwanted:
                name = self._unwanted[0]
                if not self._notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}"):
                    return
                del self._unwanted[0]
                self._names.discard(name)
