"""The protocol of sd_notify(3): datagrams of assignments to the service manager's socket."""

import socket
import time
from array import array
from collections.abc import Sequence

MICROSECOND = 1000
"""In nanoseconds."""


class Notifier:
    """Sends without ever blocking. Where there is no service manager, all that is said is heard."""

    def __init__(self, address: str) -> None:
        """Speak to `address`: a path, or `@` and a name in the abstract namespace, or ""."""
        self._address = _socket_address(address)
        # Kept open: a process that runs out of descriptors must still be able to say so.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @property
    def heard(self) -> bool:
        """Whether there is somebody who listens."""
        return self._address is not None

    def send(self, *assignments: str, descriptors: Sequence[int] = ()) -> bool:
        """Send `NAME=value` lines in one datagram; return False where it has to be sent again.

        What the kernel takes arrives. It takes nothing while the queue is full, or no one listens.
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
        """Say no more."""
        self._socket.close()


def reloading() -> tuple[str, str]:
    """Return what tells of a reload; both have to be in one datagram."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // MICROSECOND
    return "RELOADING=1", f"MONOTONIC_USEC={now}"


def _socket_address(address: str) -> str | None:
    if address.startswith("@"):
        return "\0" + address[1:]
    return address if address.startswith("/") else None
