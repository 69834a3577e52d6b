"""Waiting for a daemon without an end, and yet to be interrupted at any moment."""

import select
import socket
from io import RawIOBase
from typing import Any

GLANCE = 0.5
"""Seconds. Python heeds a signal between two calls: one that comes just before a read that
blocks would be heeded only once there is something to read."""


class Patience(RawIOBase):
    """What comes over a connection, however long it takes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  # any buffer; 3.11 has no name for it
        """Read what there is once there is something."""
        while not select.select((self._connection,), (), (), GLANCE)[0]:
            pass
        return self._connection.recv_into(buffer)
