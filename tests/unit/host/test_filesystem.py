"""Waiting for filesystems that may hang."""

import asyncio

import pytest

from refresherd.host.filesystem import filesystem_timeout


async def test_the_error_of_a_hanging_filesystem_explains_itself() -> None:
    """Callers handle it like every other OSError, and operators read what has happened."""
    with pytest.raises(OSError, match="no answer") as caught:
        async with filesystem_timeout(0.01):
            await asyncio.Event().wait()
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.strerror == "no answer for 0.01 s; its filesystem hangs or is overloaded"


async def test_other_errors_pass_through() -> None:
    """A missing file is not a hanging filesystem."""
    with pytest.raises(FileNotFoundError):
        async with filesystem_timeout(10):
            raise FileNotFoundError


async def test_a_cancelled_wait_is_cancelled() -> None:
    """A stop must not be reported as a hanging filesystem."""

    async def wait() -> None:
        async with filesystem_timeout(10):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
