"""A reader that waits for a daemon can be interrupted at any moment."""

import _thread
import socket
from threading import Timer

import pytest

from refresherd.cli.client.patience import Patience


def test_an_interrupt_that_no_read_notices_is_heeded() -> None:
    """One that comes just before a read blocks was lost until the next token, ten minutes later."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # It sets Python's flag and interrupts no system call, as a signal at that moment does.
        Timer(0.05, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            Patience(ours).readinto(bytearray(1))


def test_what_has_come_is_read() -> None:
    """And the end of it, too, is nothing."""
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"ab")
        theirs.close()
        buffer = bytearray(3)
        assert (Patience(ours).readinto(buffer), bytes(buffer)) == (2, b"ab\0")
        assert Patience(ours).readinto(buffer) == 0
