"""A KeyedExecutor's threads start when they are needed, and end when they are not."""

import asyncio
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from refresherd.host.keyed_executor import KeyedExecutor

BOUND = 30.0
"""No hang in these tests outlasts this many seconds, whatever is broken."""

FAR_TOO_MUCH = 1 << 46
"""Bytes of stack that no thread can be given."""


class Crew:
    """The threads that executors started since the test began."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())

    def threads(self) -> list[threading.Thread]:
        """Return those that are alive."""
        return [
            thread
            for thread in threading.enumerate()
            if thread.name == "executor" and thread not in self._before
        ]


@pytest.fixture
def crew() -> Crew:
    """Return this test's threads: others' may still be idling."""
    return Crew()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Return the event that a test's hanging calls wait for; it is set at the end at the latest."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def no_more_threads() -> Iterator[None]:
    """Let no thread be started, as in a unit whose TasksMax= is reached."""
    usual = threading.stack_size(FAR_TOO_MUCH)
    yield
    threading.stack_size(usual)


async def eventually(true: Callable[[], bool]) -> None:
    """Return once a condition holds."""
    async with asyncio.timeout(BOUND):
        while not true():  # noqa: ASYNC110  # threads end without telling anyone
            await asyncio.sleep(0.001)


async def test_more_hanging_keys_than_threads_hold_up_no_other(released: threading.Event) -> None:
    """A dead file server hangs every directory on it, and the others' tokens must go on."""
    executor = KeyedExecutor(threads=2, grow_after=0.01)
    hanging = [
        asyncio.create_task(executor.call(n, partial(released.wait, BOUND))) for n in range(9)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(BOUND / 2):
        assert await executor.call("good disk", lambda: "at once") == "at once"
    assert not any(task.done() for task in hanging)
    released.set()
    assert all(await asyncio.gather(*hanging))


async def test_a_burst_over_many_keys_takes_few_threads(crew: Crew) -> None:
    """A thousand apps that start at once must not be a thousand threads."""
    executor = KeyedExecutor(threads=3, grow_after=BOUND)
    await asyncio.gather(*(executor.call(n, lambda: None) for n in range(1000)))
    assert 1 <= len(crew.threads()) <= 3


async def test_idle_threads_end_and_are_started_anew(crew: Crew) -> None:
    """A daemon that refreshes every five minutes should not hold threads all the while."""
    executor = KeyedExecutor(idle_timeout=0.01)
    await executor.call("disk", lambda: None)
    await eventually(lambda: not crew.threads())
    assert await executor.call("disk", lambda: "again") == "again"


async def test_no_call_is_lost_to_a_thread_that_is_just_ending() -> None:
    """The end of an idle thread and the next token may fall into the same instant."""
    # Not 0: threads that never sleep would leave the loop hardly any time.
    executor = KeyedExecutor(threads=2, idle_timeout=0.0001)
    async with asyncio.timeout(BOUND):
        for number in range(100):
            calls = (executor.call(key, partial(int, number)) for key in range(3))
            assert await asyncio.gather(*calls) == [number] * 3


async def test_no_call_is_lost_to_a_queue_that_has_just_emptied(released: threading.Event) -> None:
    """The loop may be busy while a key's last call ends, and then submit one more for it."""
    executor = KeyedExecutor()
    first = asyncio.create_task(executor.call("disk", partial(released.wait, BOUND)))
    await asyncio.sleep(0)
    released.set()
    time.sleep(0.05)  # noqa: ASYNC251  # the loop is busy all this time
    async with asyncio.timeout(BOUND):
        assert await executor.call("disk", lambda: "next") == "next"
    assert await first


async def test_no_cancelled_call_begins_while_the_loop_is_busy(released: threading.Event) -> None:
    """A cancellation counts at once, not only when the loop gets round to it."""
    ran: list[str] = []
    executor, ended = KeyedExecutor(), threading.Event()
    calls = (partial(released.wait, BOUND), partial(ran.append, "cancelled"), ended.set)
    first, cancelled, last = (asyncio.create_task(executor.call("disk", run)) for run in calls)
    await asyncio.sleep(0)
    cancelled.cancel()
    released.set()
    assert ended.wait(BOUND)
    await asyncio.gather(first, last)
    assert ran == []


async def test_an_idle_thread_keeps_nothing_of_its_last_call() -> None:
    """A token must not stay in memory for as long as a thread idles."""
    executor = KeyedExecutor()
    content = {"a token"}
    kept = weakref.ref(content)
    assert await executor.call("disk", partial(len, content)) == 1
    del content
    await eventually(lambda: kept() is None)


@pytest.mark.usefixtures("no_more_threads")
async def test_a_call_waits_for_a_thread_where_none_can_be_started() -> None:
    """A host that is out of threads for a moment is no reason to lose a token, or to crash."""
    executor = KeyedExecutor(grow_after=0.01)
    call = asyncio.create_task(executor.call("disk", lambda: "late"))
    await asyncio.sleep(0.05)
    assert not call.done()
    threading.stack_size(0)
    assert await asyncio.wait_for(call, BOUND) == "late"


@pytest.mark.parametrize("begun", [True, False])
def test_a_thread_ends_quietly_where_its_loop_is_gone(crew: Crew, *, begun: bool) -> None:
    """A write that hangs over the daemon's end must not print a traceback into the journal."""
    released = threading.Event()

    async def leave() -> None:
        executor = KeyedExecutor(idle_timeout=0.01)
        await executor.call("disk", lambda: None)
        if begun:
            task = asyncio.create_task(executor.call("disk", partial(released.wait, BOUND)))
            await asyncio.sleep(0)
            task.cancel()

    asyncio.run(leave())
    released.set()
    for thread in crew.threads():
        thread.join(BOUND)
    assert not crew.threads()


async def test_a_hanging_call_does_not_hold_up_the_end_of_the_process() -> None:
    """`stop` is to take 5 s at most, and a disk may hang for hours."""
    program = (
        "import asyncio, threading\n"
        "from refresherd.host.keyed_executor import KeyedExecutor\n"
        "async def main():\n"
        "    task = asyncio.create_task(KeyedExecutor().call('disk', threading.Event().wait))\n"
        "    await asyncio.sleep(0.05)\n"
        "asyncio.run(main())\n"
        "print('ended')\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), BOUND)
    assert (process.returncode, output) == (0, b"ended\n")
