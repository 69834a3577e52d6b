"""Looking at this host takes a bounded time."""

import threading
from errno import ETIMEDOUT

import pytest

from refresherd.config.host_checks import within


def test_a_call_that_hangs_is_given_up() -> None:
    """One app's dead mount must not keep the daemon from starting for the others."""
    released = threading.Event()
    try:
        assert within(0.01, released.wait) is None
    finally:
        released.set()


def test_a_call_returns_or_raises_as_usual() -> None:
    """A bug in a check has to show, and a filesystem's own timeout is no hang."""
    assert within(10, lambda: "found") == "found"

    def fail() -> None:
        raise OSError(ETIMEDOUT, "stale")

    with pytest.raises(TimeoutError, match="stale"):
        within(10, fail)


def test_without_threads_the_call_is_made_all_the_same() -> None:
    """The limit of a unit's tasks counts threads; here none gets the stack that it asks for."""
    usual = threading.stack_size(1 << 46)
    try:
        assert within(10, lambda: "found") == "found"
    finally:
        threading.stack_size(usual)
