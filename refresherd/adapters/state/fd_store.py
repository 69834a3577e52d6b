"""systemd's file descriptor store: files in memory that outlive the process.

sd_pid_notify_with_fds(3): FDSTORE=1 adds a descriptor under FDNAME=, FDSTOREREMOVE=1 removes
all of that name. The next run gets the descriptors like those of sockets.
"""

import fcntl
import os
import re
import string
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count

from refresherd.domain.errors import OutputError
from refresherd.host.service_manager import Descriptor, Notifier

MAX_ENTRIES = 20_000
"""The next run gets all names in one variable, LISTEN_FDNAMES. execve(2) takes no variable of over
128 KiB (MAX_ARG_STRLEN), so with more entries the daemon could not be started any more."""

NAME = re.compile(r"s\.[0-9A-Za-z]{3}")
"""Names are this short so that all of them fit in LISTEN_FDNAMES."""

DIGITS = string.digits + string.ascii_letters

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
"""fcntl(2): nobody can change the content, the size or the seals, whoever gets the descriptor."""


class FdStore:
    """What systemd stores for this process, by names that are each used for one entry at a time."""

    def __init__(self, notifier: Notifier, max_entries: int = MAX_ENTRIES) -> None:
        self._notifier = notifier
        self._max_entries = max_entries
        self._numbers = count()
        self._names: set[str] = set()
        """The names in use, including those in `_unwanted`."""
        self._unwanted: list[str] = []
        """Names to be removed as soon as systemd takes messages."""

    @property
    def full(self) -> bool:
        """Whether `add` has no name left."""
        return len(self._names) >= self._max_entries

    def adopt(self, descriptor: Descriptor, max_bytes: int) -> bytes:
        """Return up to so many bytes of an earlier run's entry, and close its descriptor.

        The entry stays stored. Raises OSError if the descriptor is not a file.
        """
        self._names.add(descriptor.name)
        try:
            return os.pread(descriptor.fd, max_bytes, 0)
        finally:
            os.close(descriptor.fd)

    def add(self, content: bytes) -> str:
        """Store this content and return the entry's name. Raises OutputError if that fails."""
        name = self._free_name()
        message = ("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0")
        try:
            with sealed(content) as fd:
                sent = self._notifier.send(*message, descriptors=[fd])
        except OSError as error:
            raise OutputError(f"cannot store the session: {error.strerror}") from error
        if not sent:
            raise OutputError("the service manager does not take the session now")
        self._names.add(name)
        return name

    def remove(self, names: Iterable[str]) -> None:
        """Remove entries, now or as soon as systemd takes messages."""
        self._unwanted += names
        while self._unwanted:
            name = self._unwanted[0]
            if not self._notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}"):
                return
            del self._unwanted[0]
            self._names.discard(name)

    def _free_name(self) -> str:
        if self.full:
            limit = f"the service manager holds {self._max_entries} sessions"
            raise OutputError(f"{limit}, and cannot pass on more")
        while (name := _name(next(self._numbers))) in self._names:
            pass
        return name


def is_session(name: str) -> bool:
    """Return whether a descriptor of this name, passed on by systemd, is a stored session."""
    return NAME.fullmatch(name) is not None


@contextmanager
def sealed(content: bytes) -> Iterator[int]:
    """Yield a descriptor of a sealed file in memory with this content. Raises OSError.

    It is open for the block only; the file lives for as long as somebody else has it open.
    """
    fd = os.memfd_create("refresherd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, content)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        yield fd
    finally:
        os.close(fd)


def _name(number: int) -> str:
    base = len(DIGITS)
    return "s." + "".join(DIGITS[number // base**place % base] for place in (2, 1, 0))
