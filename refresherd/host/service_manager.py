"""The service manager's protocol: what it says in the environment, and what a service tells it."""

import os
import socket
import time
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

FIRST_PASSED = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

MAX_PASSED = 65536
"""More descriptors than a process can have; a larger number is nonsense."""

MICROSECONDS = 1_000_000

OWN = frozenset(
    (
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE"),
        *("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"),
    )
)
"""Variables for this process alone. A child that has them could speak in its name."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An open descriptor that was passed on, and its name there."""

    fd: int
    name: str


@dataclass(frozen=True, slots=True)
class Manager:
    """What the service manager says to a service. All is empty without one."""

    notify_socket: str = ""
    watchdog: float | None = None
    """Within how many seconds it wants to hear that all is well, None for never."""
    passed: tuple[Descriptor, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> "Manager":
        """Return what `environ` says to the process `pid`.

        What it says to another process was passed on by a shell in between, and is ignored. A
        descriptor without a name has "". See sd_watchdog_enabled(3), sd_listen_fds_with_names(3).
        """
        watchdog, names = 0.0, []
        if environ.get("WATCHDOG_PID", str(pid)) == str(pid):
            watchdog = _number(environ.get("WATCHDOG_USEC", "")) / MICROSECONDS
        if environ.get("LISTEN_PID") == str(pid):
            count = min(_number(environ.get("LISTEN_FDS", "")), MAX_PASSED)
            names = environ.get("LISTEN_FDNAMES", "").split(":")[:count]
            names += [""] * (count - len(names))
        passed = tuple(Descriptor(fd, name) for fd, name in enumerate(names, FIRST_PASSED))
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog or None, passed)


class Notifier:
    """Sends sd_notify(3) datagrams without ever blocking; to nobody without a service manager."""

    def __init__(self, address: str) -> None:
        """Send to `address`: a path, or `@` and a name in the abstract namespace, or ""."""
        self._address: str | None = None
        if address.startswith(("@", "/")):
            self._address = "\0" + address[1:] if address.startswith("@") else address
        # Kept open: a process that runs out of descriptors must still be able to say so.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @property
    def enabled(self) -> bool:
        """Whether there is a service manager to notify."""
        return self._address is not None

    def send(self, *assignments: str, descriptors: Sequence[int] = ()) -> bool:
        """Send `NAME=value` lines in one datagram; return False if they have to be sent again.

        The kernel refuses it while the queue is full or nobody listens; otherwise it arrives.
        """
        if self._address is None:
            return True
        message = "\n".join(assignments).encode(errors="replace")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
        try:
            self._socket.sendmsg([message], rights if descriptors else (), 0, self._address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def reloading() -> tuple[str, str]:
    """Return the assignments that announce a reload; both have to be in one datagram."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return "RELOADING=1", f"MONOTONIC_USEC={now}"


def without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that children may see."""
    return {name: value for name, value in environ.items() if name not in OWN}


def keep_from_children(passed: tuple[Descriptor, ...]) -> None:
    """Make the passed descriptors not inheritable by programs that are run here."""
    for descriptor in passed:
        with suppress(OSError):  # a wrapper in between has closed it
            os.set_inheritable(descriptor.fd, False)  # noqa: FBT003  # the function's only form


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
