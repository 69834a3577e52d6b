"""Blocking calls of one key run in order, and never wait for those of another key."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial

import pytest

from refresherd.host.keyed_executor import KeyedExecutor, filesystem_timeout
from refresherd.host.os_errors import NO_THREAD
from support.fakes import settle

BOUND = 30.0
"""No hang in these tests outlasts this many seconds, whatever is broken."""


class Hang:
    """A blocking call that hangs until it is released."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._released = threading.Event()

    def __call__(self) -> str:
        """Hang, then return."""
        self._begun.set()
        assert self._released.wait(BOUND)
        return "released"

    def release(self) -> None:
        """Let the call return."""
        self._released.set()

    async def begun(self) -> None:
        """Return once the call has begun."""
        assert await asyncio.to_thread(self._begun.wait, BOUND)


def fail(error: BaseException) -> None:
    """Raise an error, as a blocking call may."""
    raise error


async def test_a_call_returns_what_it_returned_in_its_thread() -> None:
    """The event loop's own thread must be left alone."""
    assert await KeyedExecutor().call("disk", threading.get_ident) != threading.get_ident()


async def test_a_call_raises_what_it_raised_in_its_thread() -> None:
    """An adapter maps the errors of the system itself."""
    with pytest.raises(PermissionError, match="no entry"):
        await KeyedExecutor().call("disk", partial(fail, PermissionError("no entry")))


@pytest.mark.parametrize(
    ("raised", "message"), [(SystemExit(3), SystemExit), (StopIteration(), RuntimeError)]
)
async def test_no_exception_stops_a_queue(
    raised: BaseException, message: type[BaseException]
) -> None:
    """A thread that died of an odd one would leave its caller and its queue hanging for ever."""
    executor = KeyedExecutor(threads=1)
    with pytest.raises(message):
        await executor.call("disk", partial(fail, raised))
    assert await executor.call("disk", lambda: "alive") == "alive"


async def test_calls_of_one_key_run_one_by_one_in_order() -> None:
    """Otherwise an older token could replace a newer one."""
    ran: list[int] = []
    executor = KeyedExecutor()
    await asyncio.gather(*(executor.call("disk", partial(ran.append, n)) for n in range(100)))
    assert ran == list(range(100))


async def test_a_hanging_key_holds_up_no_other() -> None:
    """One app's dead disk must not delay another app's token."""
    executor, hang = KeyedExecutor(), Hang()
    hanging = asyncio.create_task(executor.call("dead disk", hang))
    behind = asyncio.create_task(executor.call("dead disk", lambda: "at last"))
    await hang.begun()
    assert await executor.call("good disk", lambda: "at once") == "at once"
    assert not behind.done()
    hang.release()
    assert (await hanging, await behind) == ("released", "at last")


async def test_a_call_cancelled_before_it_began_never_runs() -> None:
    """A file written for nobody would come back after it was removed."""
    ran: list[str] = []
    executor, hang = KeyedExecutor(), Hang()
    hanging = asyncio.create_task(executor.call("disk", hang))
    cancelled = asyncio.create_task(executor.call("disk", partial(ran.append, "cancelled")))
    await hang.begun()
    cancelled.cancel()
    later = asyncio.create_task(executor.call("disk", partial(ran.append, "later")))
    await settle()
    hang.release()
    await asyncio.gather(hanging, later)
    assert cancelled.cancelled()
    assert ran == ["later"]


async def test_a_call_cancelled_while_no_thread_is_free_never_runs() -> None:
    """It is already on its way to a thread, and must be stopped there all the same."""
    ran: list[str] = []
    executor, hang = KeyedExecutor(threads=1, grow_after=BOUND), Hang()
    hanging = asyncio.create_task(executor.call("disk", hang))
    await hang.begun()
    cancelled = asyncio.create_task(executor.call("other disk", partial(ran.append, "cancelled")))
    await settle()
    cancelled.cancel()
    await settle()
    hang.release()
    await hanging
    await executor.drained()
    assert ran == []


async def test_a_call_waits_for_one_that_was_cancelled_too_late() -> None:
    """A write that cannot be stopped may finish, but only before later calls."""
    order: list[str] = []
    executor, hang = KeyedExecutor(), Hang()

    def write() -> None:
        hang()
        order.append("cancelled write")

    cancelled = asyncio.create_task(executor.call("disk", write))
    await hang.begun()
    cancelled.cancel()
    await settle()
    assert cancelled.cancelled()
    later = asyncio.create_task(executor.call("disk", partial(order.append, "removal")))
    await settle()
    hang.release()
    await later
    assert order == ["cancelled write", "removal"]


async def test_a_cancelled_call_is_released_at_once() -> None:
    """Tries behind a hanging disk would pile up for days, each with a token in it."""
    executor, hang, waiting = KeyedExecutor(), Hang(), Hang()
    hanging = asyncio.create_task(executor.call("disk", hang))
    await hang.begun()
    kept = weakref.ref(waiting)
    cancelled = asyncio.create_task(executor.call("disk", waiting))
    await settle()
    cancelled.cancel()
    await settle()
    del waiting, cancelled
    gc.collect()
    assert kept() is None
    hang.release()
    await hanging


@pytest.mark.parametrize("cancelled", [False, True])
async def test_drained_waits_for_running_calls(*, cancelled: bool) -> None:
    """A stop gives running writes time to end, even those whose caller was cancelled."""
    executor, hang = KeyedExecutor(), Hang()
    await executor.drained()
    call = asyncio.create_task(executor.call("disk", hang))
    await hang.begun()
    if cancelled:
        call.cancel()
    drained = asyncio.create_task(executor.drained())
    await settle()
    assert not drained.done()
    hang.release()
    await drained
    assert call.done() or not cancelled


async def test_a_result_of_none_is_a_result() -> None:
    """Most blocking calls return nothing."""
    run: Callable[[], None] = partial(list[int].clear, [])
    assert await KeyedExecutor().call("disk", run) is None  # type: ignore[func-returns-value]  # its point


async def test_the_error_of_a_hanging_filesystem_explains_itself() -> None:
    """Callers handle it like every other OSError, and operators read what has happened."""
    with pytest.raises(OSError, match="no answer") as caught:
        async with filesystem_timeout(0.01):
            await asyncio.Event().wait()
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.strerror == "no answer for 0.01 s; its filesystem hangs or is overloaded"


def refuse(_: threading.Thread) -> None:
    """Stand for Thread.start() under a limit on threads."""
    raise RuntimeError("can't start new thread")


async def bounded(executor: KeyedExecutor) -> None:
    """Make a call that the filesystem gets a hundredth of a second for."""
    async with filesystem_timeout(0.01):
        await executor.call("disk", str)


async def test_a_call_that_finds_no_thread_does_not_blame_the_filesystem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under a limit on threads an operator would look for a dead disk in vain."""
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TimeoutError) as caught:
            await bounded(KeyedExecutor())
    assert caught.value.strerror == NO_THREAD


async def test_a_call_behind_a_hanging_one_blames_the_filesystem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has a thread to wait for, and a limit on threads is not what holds it up."""
    executor, hang = KeyedExecutor(threads=1), Hang()
    hanging = asyncio.create_task(executor.call("disk", hang))
    await hang.begun()
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TimeoutError, match="hangs"):
            await bounded(executor)
    hang.release()
    await hanging


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
