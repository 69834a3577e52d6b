"""A fake service manager: the other end of $NOTIFY_SOCKET."""

import array
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 4096
"""PIPE_BUF: systemd accepts no more in one datagram."""


@dataclass(frozen=True, slots=True)
class Message:
    """A datagram: its assignments in order, and the descriptors that came with it."""

    lines: tuple[str, ...]
    descriptors: tuple[int, ...] = ()

    def value(self, name: str) -> str | None:
        """Return the value of a name, None if it has none."""
        found = [line.partition("=")[2] for line in self.lines if line.startswith(f"{name}=")]
        return found[0] if found else None


@dataclass
class ServiceManager:
    """Receives messages, and keeps the descriptors that come with them, as systemd does."""

    address: str
    heard: list[Message] = field(default_factory=list)
    stored: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._taken = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(20)
        self._socket.bind(self.address.replace("@", "\0", 1))

    def close(self) -> None:
        """Close the socket, and all descriptors."""
        self._socket.close()
        for name in tuple(self.stored):
            self._remove(name)

    def take(self) -> list[Message]:
        """Return the messages since the last call."""
        self.read()
        before, self._taken = self._taken, len(self.heard)
        return self.heard[before:]

    def read(self) -> None:
        """Read what has arrived; the kernel queues as few as ten datagrams."""
        self._socket.settimeout(0)
        try:
            while True:
                self._receive()
        except BlockingIOError:
            pass
        finally:
            self._socket.settimeout(20)

    def fileno(self) -> int:
        """Return the socket, for an event loop to watch."""
        return self._socket.fileno()

    def until(self, condition: Callable[[Message], object]) -> Message:
        """Return the next message that meets a condition."""
        while not condition(message := self._receive()):
            pass
        return message

    def flood(self) -> None:
        """Fill the queue."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.settimeout(0)
            try:
                while True:
                    other.sendto(b"X_FLOOD=1", self._socket.getsockname())
            except BlockingIOError:
                pass

    def _receive(self) -> Message:
        message, ancillary, flags, _ = self._socket.recvmsg(LARGEST + 1, 4096)
        assert len(message) <= LARGEST, "systemd would drop it"
        assert not flags & socket.MSG_CTRUNC
        descriptors = array.array("i")
        for _level, _kind, data in ancillary:
            descriptors.frombytes(data)
        self.heard.append(Message(tuple(message.decode().split("\n")), tuple(descriptors)))
        self._keep(self.heard[-1])
        return self.heard[-1]

    def _keep(self, message: Message) -> None:
        """Keep or remove descriptors as sd_pid_notify_with_fds(3) describes."""
        name = message.value("FDNAME") or "stored"
        if message.value("FDSTORE") == "1":
            self.stored.setdefault(name, []).extend(message.descriptors)
        if message.value("FDSTOREREMOVE") == "1":
            self._remove(name)

    def _remove(self, name: str) -> None:
        for fd in self.stored.pop(name, ()):
            os.close(fd)


def manager_at(directory: Path) -> ServiceManager:
    """Return a service manager that listens in a directory."""
    return ServiceManager(str(directory / "notify"))
