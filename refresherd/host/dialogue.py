"""The protocol on a connection: what a stream calls when something happens."""

from collections.abc import Callable
from typing import Protocol

LINGER_BYTES = 4 * 1024 * 1024
"""How much is thrown away at most. Some clients, such as Go's, read no answer after a failed write.
"""


class Dialogue(Protocol):
    """Speaks the protocol of a connection. No method may raise."""

    def received(self, data: bytes) -> None:
        """Take some bytes."""

    def ended(self) -> None:
        """Note that the client sends nothing more; it may still read."""

    def flushed(self) -> None:
        """Note that all that could not be sent at once has been sent."""

    def expired(self) -> None:
        """Close the connection, or set a new deadline: the deadline has passed."""

    def lost(self) -> None:
        """Note that the connection is closed."""


class Lingering:
    """The end of every dialogue: what the client still sends is thrown away, up to a limit."""

    __slots__ = ("_close", "_left", "_lost")

    def __init__(self, close: Callable[[], None], lost: Callable[[], None]) -> None:
        """`lost` is that of the dialogue that has ended."""
        self._close = close
        self._lost = lost
        self._left = LINGER_BYTES

    def received(self, data: bytes) -> None:
        """Throw it away."""
        self._left -= len(data)
        if self._left < 0:
            self._close()

    def ended(self) -> None:
        """Close."""
        self._close()

    def flushed(self) -> None:
        """Do nothing: all was sent before."""

    def expired(self) -> None:
        """Close."""
        self._close()

    def lost(self) -> None:
        """Tell the dialogue that has ended."""
        self._lost()
